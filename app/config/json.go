package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// fileKey stands for the key in a fault of the file as a whole.
const fileKey = "-config"

// readJSON reads a file key by key. encoding/json alone would ignore unknown
// keys, match keys in any case, let the last of two equal keys win, skip a null
// and stop at the first wrong type; each of those hides a mistake.
func (l *loader) readJSON(data []byte) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // the byte order mark that some editors write
	var root json.RawMessage
	err := json.Unmarshal(data, &root)
	switch {
	case !utf8.Valid(data):
		// encoding/json would replace the bad bytes, also inside a secret.
		l.refuse(fileKey, "", "is not UTF-8", "save it as UTF-8")
	case err != nil:
		l.refuse(fileKey, "", syntaxProblem(data, err), "mend the JSON there")
	case shapeOf(root) != "an object":
		l.refuse(fileKey, "", "holds "+shapeOf(root), "want one JSON object")
	default:
		l.readObject("", root)
	}
}

// syntaxProblem says at which line and column the JSON is wrong.
func syntaxProblem(data []byte, err error) string {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return "is not JSON"
	}
	// Offset counts the offending byte too, except at the end of the input.
	before := data[:max(0, min(int(syntax.Offset)-1, len(data)))]
	line, column := 1+bytes.Count(before, []byte("\n")), len(before)-bytes.LastIndexByte(before, '\n')
	return fmt.Sprintf("line %d:%d: %s", line, column, syntax.Error())
}

// readObject reads one section. raw is a well-formed object, so that the decoder
// returns no error.
func (l *loader) readObject(section string, raw json.RawMessage) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	_, _ = decoder.Token()
	seen := map[string]bool{}
	for decoder.More() {
		token, _ := decoder.Token()
		name, _ := token.(string)
		var value json.RawMessage
		_ = decoder.Decode(&value)
		switch path := section + name; {
		case seen[name]:
			l.refuse(shownKey(path), "", "duplicate key", "keep one of them")
		case strings.Contains(name, "."):
			// It would pass for the path of another key.
			l.refuse(shownKey(path), "", "key with a dot", "write each section as an object")
		default:
			l.readMember(path, value)
		}
		seen[name] = true
	}
}

// readMember reads one member of a section: a key or a section of its own.
func (l *loader) readMember(path string, raw json.RawMessage) {
	known := make([]string, 0, 2*len(l.keys))
	for _, k := range l.keys {
		switch {
		case k.path == path:
			l.readValue(k, raw)
			return
		case !strings.HasPrefix(k.path, path+"."):
			known = append(known, k.path[:strings.LastIndexByte(k.path, '.')], k.path)
		case shapeOf(raw) == "an object":
			l.readObject(path+".", raw)
			return
		default:
			l.refuse(path, "", "is "+shapeOf(raw), "want an object")
			return
		}
	}
	if !l.isObsolete(path) {
		// The value is not shown: it may be a secret under a misspelt name.
		l.refuse(shownKey(path), "", "unknown key", didYouMean(path, known))
	}
}

// readValue does not show what is inside an array or an object: it may be a
// whole section, secrets included, in the wrong place.
func (l *loader) readValue(k key, raw json.RawMessage) {
	want, _ := k.form("")
	shape, shown := shapeOf(raw), ""
	switch {
	case shape == "null":
		l.refuse(k.path, "", "is null", "leave the key out, or give "+want)
		return
	case json.Unmarshal(raw, k.field) == nil:
		return
	case shape == "a string":
		var text string
		_ = json.Unmarshal(raw, &text)
		shown = k.shown(text)
	case k.isSecret():
		shown = k.shown(string(raw))
	case shape == "a number", shape == "a boolean":
		shown = fmt.Sprintf("%.*s", shownRunes, raw)
	}
	l.refuse(k.path, shown, "is "+shape, "want "+want)
}

// shapeOf names the type of a well-formed value by its first byte.
func shapeOf(raw json.RawMessage) string {
	shape, ok := map[byte]string{
		'{': "an object", '[': "an array", '"': "a string", 't': "a boolean", 'f': "a boolean", 'n': "null",
	}[bytes.TrimLeft(raw, " \t\r\n")[0]]
	if !ok {
		return "a number"
	}
	return shape
}
