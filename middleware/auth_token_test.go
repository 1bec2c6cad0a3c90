package middleware

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// claimRows are claims of signed tokens, and tokens with several faults.
func claimRows() []authRow {
	var rows []authRow
	add := func(name, claims string, want Reason) {
		rows = append(rows, authRow{name, []string{"Bearer " + hs256(claims)}, want})
	}
	for _, row := range dateRows() {
		add(row.name, `{"api_key":"k"`+row.members+`}`, row.want)
	}
	for _, row := range keyRows() {
		add("api_key "+row.name, `{"exp":9999999999`+row.members+`}`, row.want)
	}
	far := `"exp":9999999999`
	add("duplicate exp", `{"api_key":"k",`+far+`,`+far+`}`, TokenMalformed)
	add("duplicate exp, escaped", `{"api_key":"k",`+far+`,"\u0065xp":1}`, TokenMalformed)
	add("duplicate api_key", `{"api_key":"k","api_key":"l",`+far+`}`, TokenMalformed)
	add("duplicate of an unused claim", `{"api_key":"k","sub":"a","sub":"admin",`+far+`}`, TokenMalformed)
	// Names are matched exactly: similar names are ignored.
	add("EXP beside a past exp", `{"api_key":"k","exp":1,"EXP":9999999999}`, TokenExpired)
	add("EXP beside exp", `{"api_key":"k",`+far+`,"EXP":1}`, Authenticated)
	add("EXP alone", `{"api_key":"k","EXP":9999999999}`, ClaimsInvalid)
	add("API_KEY beside api_key", `{"API_KEY":":","api_key":"k",`+far+`}`, Authenticated)
	add("API_KEY beside a bad api_key", `{"API_KEY":"k","api_key":":",`+far+`}`, APIKeyInvalid)
	add("API_KEY alone", `{"API_KEY":"k",`+far+`}`, APIKeyInvalid)
	add("not an object", `["k"]`, TokenMalformed)
	add("a string", `"k"`, TokenMalformed)
	add("null", `null`, ClaimsInvalid)
	add("empty object", `{}`, ClaimsInvalid)
	add("data after the object", `{"api_key":"k",`+far+`} {}`, TokenMalformed)
	// 4 KiB of nesting fits into a token.
	deep := strings.Repeat("[", 2800) + strings.Repeat("]", 2800)
	add("deep nesting", `{"api_key":"k",`+far+`,"x":`+deep+`}`, Authenticated)

	// A wrong signature is reported before a wrong claim.
	wrong := []byte("another secret of thirty-two byt")
	for name, claims := range map[string]string{
		"expired AND wrongly signed":          `{"api_key":"k","exp":1}`,
		"no claims AND wrongly signed":        `{}`,
		"odd exp AND wrongly signed":          `{"api_key":"k","exp":"x"}`,
		"odd api_key AND wrongly signed":      `{"api_key":":","exp":9999999999}`,
		"not yet valid AND wrongly signed":    `{"api_key":"k","exp":9999999999,"nbf":9999999998}`,
		"otherwise good AND wrongly signed":   `{"api_key":"k","exp":9999999999}`,
		"issued tomorrow AND wrongly signed":  `{"api_key":"k","exp":9999999999,"iat":9999999998}`,
		"expired, odd key AND wrongly signed": `{"api_key":"","exp":1}`,
	} {
		token := compact(headerHS256, claims, jwt.SigningMethodHS256, wrong)
		rows = append(rows, authRow{name, []string{"Bearer " + token}, SignatureInvalid})
	}
	return rows
}

type membersRow struct {
	name    string
	members string
	want    Reason
}

func dateRows() []membersRow {
	at := func(claim string, seconds int64) string { return fmt.Sprintf(`,%q:%d`, claim, epoch.Unix()+seconds) }
	const leeway = int64(testLeeway / 1e9)
	good := at("exp", 60)
	return append(oddDates(good),
		membersRow{"exp missing", "", ClaimsInvalid},
		membersRow{"exp in the past", at("exp", -3600), TokenExpired},
		membersRow{"exp zero", `,"exp":0`, TokenExpired},
		membersRow{"exp now", at("exp", 0), Authenticated}, // within leeway
		membersRow{"exp at the edge of leeway", at("exp", -leeway), TokenExpired},
		membersRow{"exp inside the edge of leeway", at("exp", -leeway+1), Authenticated},
		membersRow{"exp a fraction inside the edge", fmt.Sprintf(`,"exp":%d.5`, epoch.Unix()-leeway), Authenticated},
		membersRow{"exp with an exponent", `,"exp":1e10`, Authenticated},
		membersRow{"exp in the year 9999", `,"exp":253402300799`, Authenticated},
		membersRow{"nbf past", good + at("nbf", -1), Authenticated},
		membersRow{"nbf at the edge of leeway", good + at("nbf", leeway), Authenticated},
		membersRow{"nbf outside the edge of leeway", good + at("nbf", leeway+1), TokenNotYetValid},
		membersRow{"iat at the edge of leeway", good + at("iat", leeway), Authenticated},
		membersRow{"iat outside the edge of leeway", good + at("iat", leeway+1), TokenNotYetValid},
		membersRow{"expired and not yet valid", at("exp", -3600) + at("nbf", 3600), TokenExpired},
	)
}

// oddDates returns values that are not a NumericDate, for each date claim.
func oddDates(good string) []membersRow {
	rows := make([]membersRow, 0, 64)
	for _, claim := range []string{"exp", "nbf", "iat"} {
		for _, value := range []string{
			`"9999999999"`, `1e300`, `-1`, `-0.5`, `null`, `true`, `{}`, `[9999999999]`, `253402300800`, `1e9999`, `""`,
		} {
			prefix := good
			if claim == "exp" {
				prefix = ""
			}
			rows = append(rows, membersRow{claim + " " + value, prefix + `,"` + claim + `":` + value, ClaimsInvalid})
		}
	}
	return rows
}

func keyRows() []membersRow {
	key := func(value string) string { return fmt.Sprintf(`,"api_key":%s`, value) }
	var rows []membersRow
	for _, value := range []string{
		`""`, `null`, `1`, `["k"]`, `{"k":1}`, `true`, `" "`, `"k "`, `"a:b"`, `"rate_count:x"`, `"a}{b"`, `"*"`, `"a/b"`,
		`"a\r\nDEL x"`, `"a\u0000"`, `"\u043a"`, `"k\ufeff"`, `"a%20b"`, `"a\\b"`, `"a\"b"`, `"` + "\xff" + `"`,
	} {
		rows = append(rows, membersRow{value, key(value), APIKeyInvalid})
	}
	return append(rows,
		membersRow{"missing", "", APIKeyInvalid},
		membersRow{"of 128", key(`"` + strings.Repeat("k", 128) + `"`), Authenticated},
		membersRow{"of 129", key(`"` + strings.Repeat("k", 129) + `"`), APIKeyInvalid},
		membersRow{"of one", key(`"~"`), Authenticated},
	)
}

// FuzzAuthorization checks that no header makes the auth stage panic, and that it
// accepts only tokens that were signed with the secret.
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

// TestTokenSize checks that a token is bounded by its size, not by the number of
// its claims, and that a name which occurs twice is refused at any size.
func TestTokenSize(t *testing.T) {
	claims := func(n int, more string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"claim_%04d":"x"`, i)
		}
		return `{"api_key":"k","exp":9999999999` + b.String() + more + `}`
	}
	auth := func(maxBytes int) *Auth {
		return NewAuth(AuthConfig{Algorithm: "HS256", Key: testSecret, MaxBytes: maxBytes})
	}
	large := "Bearer " + hs256(claims(100, ""))
	size := len(large) - len("Bearer ")
	for _, row := range []struct {
		authRow
		maxBytes int
	}{
		{authRow{"100 claims", []string{large}, Authenticated}, 0},
		{authRow{"600 claims", []string{"Bearer " + hs256(claims(600, ""))}, Authenticated}, 0},
		{authRow{"100 claims and one twice", []string{"Bearer " + hs256(claims(100, `,"claim_0000":"y"`))}, TokenMalformed}, 0},
		{authRow{"1000 claims", []string{"Bearer " + hs256(claims(1000, ""))}, TokenTooLarge}, 0},
		{authRow{"as large as configured", []string{large}, Authenticated}, size},
		{authRow{"larger than configured", []string{large}, TokenTooLarge}, size - 1},
	} {
		t.Run(row.name, func(t *testing.T) { checkAuth(t, auth(row.maxBytes), row.authRow) })
	}
}
