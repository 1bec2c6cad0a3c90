package middleware

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// MaxRecordSize bounds the text of a record, in bytes.
const MaxRecordSize = 64 << 10

// Record says what the holder of a token may do. It is the stored counterpart
// of the token, and overrules what the token says about itself. A Record is
// read-only once parsed and may be shared between requests.
type Record struct {
	RateLimit int64 // requests per window; 0 admits none
	ExpiresAt time.Time
	Routes    RouteSet
}

// RecordFields are the members of a record's JSON. Minted tokens carry the same
// members as claims.
type RecordFields struct {
	APIKey        string    `json:"api_key"`
	RateLimit     int64     `json:"rate_limit"`
	ExpiresAt     time.Time `json:"expires_at"` // in UTC and whole seconds, so that every RFC 3339 parser reads it
	AllowedRoutes []string  `json:"allowed_routes"`
}

// Text returns the record as it is stored and as [ParseRecord] reads it. The
// error is that of json.Marshal for a year beyond 9999.
func (f RecordFields) Text() (string, error) {
	f.ExpiresAt = f.ExpiresAt.UTC().Truncate(time.Second)
	text, err := json.Marshal(f) //nolint:gosec // G117: a record carries its api key, and goes only to the store
	if err != nil {
		return "", fmt.Errorf("encoding the record: %w", err)
	}
	return string(text), nil
}

// ParseRecord reads a record:
//
//	{"api_key":"…","rate_limit":10,"expires_at":"2026-01-02T15:04:05Z",
//	 "allowed_routes":["/api/v1/test","GET /files/*"]}
//
// Numbers may be written in any form of JSON: 10, 10.0 and 1e1 are one limit.
// expires_at is RFC 3339, or a number of Unix seconds, perhaps with a fraction. A record without
// allowed_routes, or with null or an empty list, allows nothing. Unknown
// members are ignored, so that other programs can add their own. Every error is
// an [ErrRecordInvalid] and quotes nothing of the record.
func ParseRecord(apiKey string, text []byte) (*Record, error) {
	record, err := parseRecord(apiKey, text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecordInvalid, err)
	}
	return record, nil
}

func parseRecord(apiKey string, text []byte) (*Record, error) {
	if len(text) > MaxRecordSize {
		return nil, fmt.Errorf("larger than %d bytes", MaxRecordSize)
	}
	members, err := decodeObject(text)
	if err != nil {
		return nil, err
	}
	if _, ok := members["api_key"]; ok {
		if key, err := stringMember(members, "api_key"); err != nil || key != apiKey {
			return nil, errors.New("api_key is not the key it is stored under")
		}
	}
	record := &Record{}
	limit, rest, ok := number(members["rate_limit"])
	if !ok || rest != 0 {
		return nil, errors.New("rate_limit is not a whole number of at least 0")
	}
	record.RateLimit = limit
	if record.ExpiresAt, err = expiry(members["expires_at"]); err != nil {
		return nil, err
	}
	var routes []string
	if raw, ok := members["allowed_routes"]; ok {
		if err := json.Unmarshal(raw, &routes); err != nil {
			return nil, errors.New("allowed_routes is not a list of strings")
		}
	}
	record.Routes = NewRouteSet(routes)
	return record, nil
}

func expiry(raw json.RawMessage) (time.Time, error) {
	if seconds, rest, ok := number(raw); ok && (seconds < maxNumericDate || seconds == maxNumericDate && rest == 0) {
		return time.Unix(seconds, rest), nil
	}
	var text string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &text) != nil {
		text = ""
	}
	if t, err := rfc3339(text); err == nil {
		return t, nil
	}
	return time.Time{}, errors.New("expires_at is neither an RFC 3339 time nor Unix seconds")
}

// rfc3339 also takes the lower-case letters and the space that RFC 3339 §5.6
// allows and package time does not.
func rfc3339(text string) (t time.Time, err error) {
	upper := []byte(strings.ToUpper(text))
	if at := len("2006-01-02"); len(upper) > at && upper[at] == ' ' {
		upper[at] = 'T'
	}
	err = t.UnmarshalText(upper)
	return t, err
}

// maxNumberLength bounds the text of a number, and maxExponent what its exponent
// can be: the exact value of 1e999999999 would take all memory.
const (
	maxNumberLength = 64
	maxExponent     = 64
)

// number returns the whole part of a JSON number of at least 0, and the rest
// in units of 10⁻⁹, rounded up. Programs without integers write 100.0 or 1e2.
// It reports false if raw is anything else.
func number(raw json.RawMessage) (whole, rest int64, ok bool) {
	if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		return n, 0, n >= 0
	}
	if len(raw) == 0 || len(raw) > maxNumberLength || raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
		return 0, 0, false
	}
	if i := bytes.IndexAny(raw, "eE"); i >= 0 {
		if e, err := strconv.Atoi(string(raw[i+1:])); err != nil || e < -maxExponent || e > maxExponent {
			return 0, 0, false
		}
	}
	value, valid := new(big.Rat).SetString(string(raw))
	if !valid || value.Sign() < 0 {
		return 0, 0, false
	}
	integer, part := new(big.Int).QuoRem(value.Num(), value.Denom(), new(big.Int))
	if !integer.IsInt64() {
		return 0, 0, false
	}
	// Rounded up, so that only an exact whole number has no rest.
	part.Mul(part, big.NewInt(int64(time.Second))).Add(part, value.Denom()).Sub(part, big.NewInt(1)).Quo(part, value.Denom())
	return integer.Int64(), part.Int64(), true
}

var (
	errNotAnObject = errors.New("not a JSON object")
	// errNotJSON replaces encoding/json's errors, which quote their input.
	errNotJSON = errors.New("not well-formed JSON")
)

// decodeObject reads one JSON object and nothing after it. The caller bounds its
// size. Unlike
// encoding/json it refuses duplicate member names (RFC 8259 §4 leaves their
// meaning open, and two parsers may disagree) and matches names exactly: a
// member "EXP" is not "exp".
//
// encoding/json/v2 refuses duplicates too, and can replace this function when
// it leaves its experiment (https://github.com/golang/go/issues/71497).
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
