package middleware

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestParseRecord(t *testing.T) {
	rest := `,"allowed_routes":["/a"]}`
	for _, row := range []struct {
		name, record string
		limit        int64
		expires      int64
	}{
		{"full", `{"api_key":"` + testKey + `","rate_limit":10,"expires_at":"2026-01-02T15:04:05Z"` + rest, 10, epoch.Unix()},
		{"without api_key", `{"rate_limit":0,"expires_at":"2026-01-02T16:04:05+01:00"` + rest, 0, epoch.Unix()},
		{"expiry in seconds", `{"rate_limit":1,"expires_at":1767366245` + rest, 1, 1767366245},
		{"largest", `{"rate_limit":9223372036854775807,"expires_at":253402300799` + rest, 9223372036854775807, 253402300799},
		{"limit with a point", `{"rate_limit":100.0,"expires_at":0` + rest, 100, 0},
		{"limit with an exponent", `{"rate_limit":3e2,"expires_at":0` + rest, 300, 0},
		{"limit with both", `{"rate_limit":1.25E+2,"expires_at":0` + rest, 125, 0},
		{"limit with a negative exponent", `{"rate_limit":5000e-1,"expires_at":-0.0` + rest, 500, 0},
		{"largest with a point", `{"rate_limit":9223372036854775807.0,"expires_at":253402300799.0` + rest,
			9223372036854775807, 253402300799},
		{"expiry with an exponent", `{"rate_limit":1,"expires_at":4.0709088E9` + rest, 1, 4070908800},
		{"lower-case letters", `{"rate_limit":1,"expires_at":"2026-01-02t15:04:05z"` + rest, 1, epoch.Unix()},
		{"an escaped plus sign", `{"rate_limit":1,"expires_at":"2026-01-02T16:04:05\u002B01:00"` + rest, 1, epoch.Unix()},
		{"a space", `{"rate_limit":1,"expires_at":"2026-01-02 16:04:05+01:00"` + rest, 1, epoch.Unix()},
		{"unknown members", `{"x":{"y":[1]},"rate_limit":1,"expires_at":0` + rest, 1, 0},
		{"white space", " {\n\"rate_limit\" : 1 , \"expires_at\" : 0 ,\"allowed_routes\":[ \"/a\" ]} \n", 1, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			token, err := ParseRecord(testKey, []byte(row.record))
			if err != nil {
				t.Fatal(err)
			}
			if token.RateLimit != row.limit || !token.ExpiresAt.Equal(time.Unix(row.expires, 0)) {
				t.Errorf("got limit %d, expiry %s", token.RateLimit, token.ExpiresAt)
			}
			if _, ok := token.Routes.Match("GET", "/a"); !ok {
				t.Error("its route does not match")
			}
		})
	}
}

// An expiry between two seconds keeps its fraction.
func TestRecordExpiryWithFraction(t *testing.T) {
	for expires, want := range map[string]time.Time{
		`4070908800.25`:               time.Unix(4070908800, 250_000_000),
		`1767366245.000000001`:        time.Unix(1767366245, 1),
		`"2026-01-02t15:04:05.5z"`:    epoch.Add(500 * time.Millisecond),
		`1767366245.9999999999999999`: time.Unix(1767366246, 0), // binary programs write a whole second so
	} {
		record, err := ParseRecord(testKey, []byte(`{"rate_limit":1,"expires_at":`+expires+`}`))
		if err != nil || !record.ExpiresAt.Equal(want) {
			t.Errorf("%s: got %+v, %v; want %s", expires, record, err, want)
		}
	}
}

// The log line of a record that cannot be read names the member at fault.
func TestRecordErrorsNameTheMember(t *testing.T) {
	for record, member := range map[string]string{
		`{"rate_limit":1.5,"expires_at":0}`:                         "rate_limit",
		`{"expires_at":0}`:                                          "rate_limit",
		`{"rate_limit":1,"expires_at":-1.5}`:                        "expires_at",
		`{"rate_limit":1,"expires_at":0,"allowed_routes":{}}`:       "allowed_routes",
		`{"api_key":"other","rate_limit":1.5,"expires_at":"never"}`: "api_key",
	} {
		if _, err := ParseRecord(testKey, []byte(record)); err == nil || !strings.Contains(Redact(err.Error()), member) {
			t.Errorf("%s: the error is %v, want one that names %s", record, err, member)
		}
	}
}

// badRecords returns records that cannot be read. ParseRecord uses no part of
// them.
func badRecords() map[string]string {
	record := func(limit, expires, routes string) string {
		return `{"rate_limit":` + limit + `,"expires_at":` + expires + `,"allowed_routes":` + routes + `}`
	}
	bad := map[string]string{
		"empty": "", "null": "null", "string": `"x"`, "list": "[]", "number": "1", "huge number": "1e999999",
		"truncated": `{"rate_limit":1`, "empty object": "{}", "two objects": record("1", "0", "[]") + "{}",
		"duplicate limit":     `{"rate_limit":1,` + record("1", "0", "[]")[1:],
		"escaped duplicate":   `{"rate_limi\u0074":9,` + record("1", "0", "[]")[1:],
		"other name's case":   `{"RATE_LIMIT":1,"expires_at":0}`,
		"another's api_key":   `{"api_key":"other",` + record("1", "0", "[]")[1:],
		"api_key null":        `{"api_key":null,` + record("1", "0", "[]")[1:],
		"larger than allowed": record("1", "0", `["`+strings.Repeat("x", MaxRecordSize)+`"]`),
		"deep":                `{"x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`,
		"no comma":            `{"rate_limit":1 "expires_at":0}`,
		"many members":        `{"rate_limit":1` + members(64) + `}`,
	}
	for _, limit := range []string{`-1`, `1.5`, `1e-2`, `-1.0`, `1e999999999`, `1E64`, `1e99999999999999999999`,
		`1.0000000000000000001`, `9223372036854775808.0`, `"10"`, `null`, `true`, `9223372036854775808`, `[1]`, `{}`} {
		bad["limit "+limit] = record(limit, "0", "[]")
	}
	for _, expires := range []string{
		`-1`, `-1.5`, `null`, `""`, `"`, `"2026-01-02 "`, `"2026-01-02x15:04:05Z"`, `"2026-01-02t15:04:05"`,
		`1e12`, `253402300800.0`, `253402300799.5`,
		`"tomorrow"`, `"2026-01-02"`, `253402300800`, `[0]`, `"2026-13-02T15:04:05Z"`,
	} {
		bad["expiry "+expires] = record("1", expires, "[]")
	}
	for _, routes := range []string{`"/a"`, `1`, `{}`, `true`, `[1]`, `["/a",1]`, `[["/a"]]`} {
		bad["routes "+routes] = record("1", "0", routes)
	}
	return bad
}

func TestParseRecordRefuses(t *testing.T) {
	for name, record := range badRecords() {
		t.Run(name, func(t *testing.T) {
			token, err := ParseRecord(testKey, []byte(record))
			if !errors.Is(err, ErrRecordInvalid) || token != nil {
				t.Errorf("got %+v, %v", token, err)
			}
		})
	}
}

// TestRecordErrorsQuoteNothing checks that errors do not contain text that
// encoding/json would quote.
func TestRecordErrorsQuoteNothing(t *testing.T) {
	const canary = "314159265358979"
	for _, record := range []string{
		canary + "e999", `"` + canary, `{"rate_limit":` + canary + canary + `}`, `{"` + canary + `":}`,
		`{"rate_limit":1,"expires_at":"` + canary + `"}`, `{"api_key":"` + canary + `"}`,
		`{"rate_limit":1,"expires_at":0,"allowed_routes":["` + canary + `",1]}`, `{"` + canary + `":1,"` + canary + `":2}`,
	} {
		_, err := ParseRecord(testKey, []byte(record))
		if err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", record, err)
		}
	}
	// encoding/json quotes a single character too.
	if _, err := ParseRecord(testKey, []byte(`{~}`)); err == nil || strings.Contains(err.Error(), "~") {
		t.Errorf("%v", err)
	}
}

func TestRecordSizeIsExact(t *testing.T) {
	record := `{"rate_limit":1,"expires_at":0}`
	fits := record + strings.Repeat(" ", MaxRecordSize-len(record))
	for extra, ok := range map[string]bool{"": true, " ": false} {
		if _, err := ParseRecord(testKey, []byte(fits+extra)); (err == nil) != ok {
			t.Errorf("%s bytes: %v", strconv.Itoa(len(fits+extra)), err)
		}
	}
}

// FuzzRecord checks that no record makes ParseRecord panic, that accepted records
// have valid fields, and that errors do not quote the record.
func FuzzRecord(f *testing.F) {
	for _, record := range badRecords() {
		if len(record) < 200 { // mutating long records is slow
			f.Add(record, uint16(len(record)/2))
		}
	}
	f.Add(`{"api_key":"`+testKey+`","rate_limit":10,"expires_at":"2026-01-02T15:04:05Z","allowed_routes":["GET /a/*"]}`, uint16(14))
	f.Fuzz(func(t *testing.T, record string, at uint16) {
		token, err := ParseRecord(testKey, []byte(record))
		if (token == nil) == (err == nil) || err != nil && !errors.Is(err, ErrRecordInvalid) {
			t.Fatalf("%q: %+v, %v", record, token, err)
		}
		if err == nil && (token.RateLimit < 0 || token.ExpiresAt.Year() > 9999) {
			t.Errorf("%q was accepted: limit %d, expiry %s", record, token.RateLimit, token.ExpiresAt)
		}
		where := min(int(at), len(record))
		for _, canary := range []string{"kX9qZq7w", "86753098675309"} {
			_, err := ParseRecord(testKey, []byte(record[:where]+canary+record[where:]))
			if err != nil && strings.Contains(err.Error(), canary) {
				t.Errorf("the error quotes the record: %v", err)
			}
		}
	})
}
