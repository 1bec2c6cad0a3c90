package middleware

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// FuzzAuthorization holds that no header makes the auth stage panic and that
// only tokens which were minted with the secret are accepted.
func FuzzAuthorization(f *testing.F) {
	minted := []string{hs256(claimsAt(epoch, "")), hs256(claimsAt(epoch, `,"nbf":1,"x":{"y":[]}`))}
	for _, token := range minted {
		f.Add("Bearer "+token, "", false)
		f.Add("bearer  "+token, "Bearer "+token, true)
	}
	for _, row := range slices.Concat(headerRows(), claimRows()) {
		f.Add(row.values[0], "", false)
		if row.want == Authenticated {
			minted = append(minted, strings.TrimPrefix(row.values[0], "Bearer "))
		}
	}
	auth := testAuth()
	f.Fuzz(func(t *testing.T, first, second string, both bool) {
		values := []string{first}
		if both {
			values = append(values, second)
		}
		ex := &Exchange{Request: &http.Request{Header: http.Header{"Authorization": values}}}
		o := auth.Check(t.Context(), ex)
		if info := o.Reason.Info(); info.Stage != StageAuth || o.Err != nil {
			t.Fatalf("%q: %s of stage %q, cause %v", values, o.Reason, info.Stage, o.Err)
		}
		if !o.Proceeds() {
			return
		}
		scheme, token, _ := strings.Cut(first, " ")
		if both || !strings.EqualFold(scheme, "bearer") || !slices.Contains(minted, strings.TrimLeft(token, " ")) {
			t.Errorf("%q was accepted", values)
		}
		if !ValidAPIKey(ex.Claims.APIKey) || ex.Claims.ExpiresAt.Before(epoch.Add(-testLeeway)) {
			t.Errorf("%q was accepted with %+v", values, ex.Claims)
		}
	})
}

// FuzzRecord holds that no record makes the reader panic, that what it accepts
// is usable, and that an error never repeats what was planted in the record.
func FuzzRecord(f *testing.F) {
	for _, record := range badRecords() {
		if len(record) < 200 { // the long ones are in the table; mutating them is slow
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
				t.Errorf("the error repeats what is in the record: %v", err)
			}
		}
	})
}
