package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ilyakaznacheev/cleanenv"
)

// readJSON applies a file leaf by leaf. encoding/json alone would ignore unknown
// keys, match keys in any case, let the last of two equal keys win, skip a null
// and stop at the first wrong type; each of those hides a mistake.
func (l *loader) readJSON(data []byte) {
	if !utf8.Valid(data) {
		// encoding/json would replace the bad bytes, also inside a secret.
		l.loseFile("", "is not UTF-8", "save it as UTF-8")
		return
	}
	var root json.RawMessage
	if err := json.Unmarshal(data, &root); err != nil {
		l.loseFile("", syntaxProblem(data, err), "mend the JSON there")
		return
	}
	if kind := jsonKind(root); kind != "an object" {
		l.loseFile("", "holds "+kind, "want one JSON object")
		return
	}
	l.readObject("", root)
	// Last, since what is suspected here may be read well further down the file.
	for _, path := range l.suspects {
		l.distrust(path)
	}
}

// syntaxProblem says where the JSON ends to be JSON.
func syntaxProblem(data []byte, err error) string {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return "is not JSON"
	}
	// Offset counts the offending byte too, except at the end of the input.
	before := data[:max(0, min(int(syntax.Offset)-1, len(data)))]
	line := 1 + bytes.Count(before, []byte("\n"))
	column := len(before) - bytes.LastIndexByte(before, '\n')
	return fmt.Sprintf("line %d:%d: %s", line, column, syntax.Error())
}

// readObject walks one section. raw is known to be a well-formed object.
func (l *loader) readObject(section string, raw json.RawMessage) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if _, err := dec.Token(); err != nil {
		return
	}
	seen := map[string]bool{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return
		}
		name, _ := token.(string) // the key of an object is always a string
		path := section + name
		if seen[name] {
			l.refuseJSON(path, "", "duplicate key", "keep one of them")
			l.suspect(path)
			continue
		}
		seen[name] = true
		l.readMember(path, name, value)
	}
}

// readMember applies one key of a section: a leaf, a section of its own, or a
// fault.
func (l *loader) readMember(path, name string, raw json.RawMessage) {
	leaf, isLeaf := l.byPath[path]
	switch {
	case strings.Contains(name, "."):
		// It would pass for the path of another key below.
		l.refuseJSON(path, "", "key with a dot", "write each section as an object")
		l.suspect(path)
	case isLeaf:
		l.readLeaf(leaf, raw)
	case isObsolete(path):
		l.obsolete = append(l.obsolete, path)
	case !l.isSection(path):
		// The value stays out of the message: it may be a secret under a
		// misspelt name.
		guess := nearest(path, l.meantBy(raw))
		l.refuseJSON(path, "", "unknown key", didYouMean(guess))
		l.suspect(guess)
	case jsonKind(raw) != "an object":
		l.refuseJSON(path, "", "is "+jsonKind(raw), "want an object")
		l.suspect(path)
	default:
		l.readObject(path+".", raw)
	}
}

// meantBy returns the names that an unknown key may stand for: a section only
// where its value is an object.
func (l *loader) meantBy(raw json.RawMessage) []string {
	if jsonKind(raw) == "an object" {
		return l.known
	}
	return slices.DeleteFunc(slices.Clone(l.known), l.isSection)
}

func (l *loader) isSection(path string) bool {
	for _, leaf := range l.leaves {
		if strings.HasPrefix(leaf.Path, path+".") {
			return true
		}
	}
	return false
}

// readLeaf parses one value; on a fault the default stays, for the sake of the
// checks that follow.
func (l *loader) readLeaf(leaf Leaf, raw json.RawMessage) {
	kind := jsonKind(raw)
	l.inFile[leaf.Path] = true
	if kind == "null" {
		l.refuseJSON(leaf.Path, "", "is null", "leave the key out, or give "+leaf.wants())
		l.broken[leaf.Path] = true
		return
	}
	value := reflect.New(leaf.typ)
	if err := cleanenv.ParseJSON(bytes.NewReader(raw), value.Interface()); err == nil {
		leaf.in(&l.cfg).Set(value.Elem())
		return
	}
	l.refuseJSON(leaf.Path, shownJSON(raw, leaf.Secret), leafProblem(leaf, kind), "want "+leaf.wants())
	l.broken[leaf.Path] = true
}

// leafProblem tells a wrong type from a right type with a wrong content.
func leafProblem(leaf Leaf, kind string) string {
	if kind == "a string" && leaf.typ == reflect.TypeFor[Duration]() {
		return "is not a duration"
	}
	if kind == "a number" && leaf.typ.Kind() == reflect.Int {
		return "is not a whole number in range"
	}
	if kind == "an array" && leaf.typ.Kind() == reflect.Slice {
		return "has an element that is not a string"
	}
	return "is " + kind
}

func (l *loader) refuseJSON(path, value, problem, fix string) {
	l.faults = append(l.faults, Fault{Key: shownKey(path), Value: value, Problem: problem, Fix: fix})
}

// suspect notes a leaf or a section that something in the file was meant for but
// did not reach; "" is none.
func (l *loader) suspect(path string) { l.suspects = append(l.suspects, path) }

// distrust marks a leaf, or all of a section, as not read, but for what the file
// says in its own place too: that was read, and is judged.
func (l *loader) distrust(path string) {
	for _, leaf := range l.leaves {
		if (leaf.Path == path || strings.HasPrefix(leaf.Path, path+".")) && !l.inFile[leaf.Path] {
			l.broken[leaf.Path] = true
		}
	}
}

// shownJSON shows a scalar. What is inside an array or an object stays out: it
// may be a whole section, secrets included, in the wrong place.
func shownJSON(raw json.RawMessage, secret bool) string {
	if raw[0] == '{' || raw[0] == '[' {
		return ""
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		text = string(raw)
	}
	return shown(text, secret)
}

// jsonKind names the type of a well-formed value by its first byte.
func jsonKind(raw json.RawMessage) string {
	switch bytes.TrimLeft(raw, " \t\r\n")[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	default:
		return "a number"
	}
}
