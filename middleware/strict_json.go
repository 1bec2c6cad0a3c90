package middleware

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxMembers bounds the members of a JSON object that comes from outside.
const maxMembers = 64

var (
	errNotAnObject = errors.New("not a JSON object")
	// errNotJSON stands for encoding/json's errors, which quote their input.
	errNotJSON = errors.New("not well-formed JSON")
)

// decodeObject reads one JSON object and nothing after it. Unlike
// encoding/json it refuses duplicate member names (RFC 8259 §4 leaves their
// meaning open, and two parsers may disagree) and matches names exactly: a
// member "EXP" is not "exp".
//
// The go-json-experiment module refuses duplicates too; fifty lines were not
// worth a pre-release dependency in the package that decides about requests.
func decodeObject(data []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	open, err := dec.Token()
	if err != nil {
		return nil, errNotJSON
	}
	if open != json.Delim('{') {
		return nil, errNotAnObject
	}
	members := make(map[string]json.RawMessage)
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, errNotJSON
		}
		key, ok := name.(string)
		if !ok {
			return nil, errNotAnObject
		}
		if _, twice := members[key]; twice {
			return nil, errors.New("a member name occurs twice")
		}
		if len(members) == maxMembers {
			return nil, fmt.Errorf("more than %d members", maxMembers)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, errNotJSON
		}
		members[key] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, errNotJSON
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("data after the JSON object")
	}
	return members, nil
}

// stringMember returns the named member, which must be a JSON string.
func stringMember(members map[string]json.RawMessage, name string) (string, error) {
	raw, ok := members[name]
	if !ok {
		return "", fmt.Errorf("%s is missing", name)
	}
	if len(raw) == 0 || raw[0] != '"' {
		return "", fmt.Errorf("%s is not a string", name)
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", fmt.Errorf("%s is not a string", name)
	}
	return s, nil
}
