package middleware

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// epoch is the time of the fake clock. It is a whole second, so that tests can use
// the exact ends of the leeway.
var epoch = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)

func fixed() time.Time { return epoch }

const (
	testLeeway = 30 * time.Second
	testKey    = "Zm9vYmFyYmF6cXV4MTIzNA"
)

var testSecret = []byte("0123456789abcdef0123456789abcdef")

const headerHS256 = `{"alg":"HS256","typ":"JWT"}`

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// compact signs a header and claims, which need not be well-formed.
func compact(header, claims string, method jwt.SigningMethod, key any) string {
	signed := b64(header) + "." + b64(claims)
	signature, err := method.Sign(signed, key)
	if err != nil {
		panic(err)
	}
	return signed + "." + b64(string(signature))
}

// hs256 signs claims with the secret of the tests' gateways.
func hs256(claims string) string {
	return compact(headerHS256, claims, jwt.SigningMethodHS256, testSecret)
}

// claimsAt returns claims that are valid at a time, with more members appended.
func claimsAt(now time.Time, more string) string {
	return fmt.Sprintf(`{"api_key":%q,"iat":%d,"exp":%d%s}`, testKey, now.Unix(), now.Add(time.Hour).Unix(), more)
}

type lookupFunc func(context.Context, string) (*Record, error)

func (f lookupFunc) Lookup(ctx context.Context, apiKey string) (*Record, error) {
	return f(ctx, apiKey)
}

type countFunc func(ctx context.Context, apiKey string, limit int64) (Quota, error)

func (f countFunc) Count(ctx context.Context, apiKey string, limit int64) (Quota, error) {
	return f(ctx, apiKey, limit)
}

// countUsed returns a counter that is at a count.
func countUsed(used int64) countFunc {
	return func(_ context.Context, _ string, limit int64) (Quota, error) { return quotaOf(limit, used), nil }
}

// quotaOf returns the quota after a count, in a window of a minute that ends in
// 41.2 s.
func quotaOf(limit, used int64) Quota {
	return Quota{limit, used, time.Minute, 41200 * time.Millisecond, time.Unix(1767366300, 0), SourceRedis}
}

type stageFunc struct {
	name  string
	check func(context.Context, *Exchange) Outcome
}

func (s stageFunc) Name() string                                    { return s.name }
func (s stageFunc) Check(ctx context.Context, ex *Exchange) Outcome { return s.check(ctx, ex) }

type forwardFunc func(context.Context, http.ResponseWriter, *Exchange) Outcome

func (forwardFunc) Name() string { return StageProxy }
func (f forwardFunc) Forward(ctx context.Context, w http.ResponseWriter, ex *Exchange) Outcome {
	return f(ctx, w, ex)
}

// journal is an Observer that records its calls.
type journal struct {
	mu     sync.Mutex
	events []string
	stages []Outcome
	ended  chan Result // buffered, so that the pipeline does not wait for the test
}

func newJournal() *journal { return &journal{ended: make(chan Result, 64)} }

type stageKey struct{}

func (j *journal) StageStarted(ctx context.Context, _ *Exchange, stage string) context.Context {
	if outer := ctx.Value(stageKey{}); outer != nil { // stages are siblings
		j.add(stage + " inside another stage's context")
	}
	j.add("start " + stage)
	return context.WithValue(ctx, stageKey{}, stage)
}

func (j *journal) StageEnded(ctx context.Context, ex *Exchange, step Step) {
	stage, o := step.Stage, step.Outcome
	if last := ex.Trail[len(ex.Trail)-1]; last != step {
		j.add("the trail ends with " + last.Stage + " at the end of " + stage)
	}
	if ctx.Value(stageKey{}) != stage {
		j.add("another context at the end of " + stage)
	}
	j.mu.Lock()
	j.stages = append(j.stages, o)
	j.mu.Unlock()
	j.add("end " + stage + " " + o.Reason.String())
}

func (j *journal) RequestEnded(ctx context.Context, _ *Exchange, d Result) {
	if ctx.Value(stageKey{}) != nil {
		j.add("a stage's context at the end of the request")
	}
	j.add("request " + d.Outcome.Reason.String())
	j.ended <- d
}

func (j *journal) add(event string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, event)
}

// wait returns the result of the next request. A client may have its response
// before the pipeline calls RequestEnded.
func (j *journal) wait(t *testing.T) Result {
	t.Helper()
	select {
	case d := <-j.ended:
		return d
	case <-time.After(10 * time.Second):
		t.Fatal("timed out waiting for the end of the request")
		return Result{}
	}
}

// checkReason reports an unexpected reason by its name.
func checkReason(t *testing.T, o Outcome, want Reason) {
	t.Helper()
	if o.Reason != want {
		t.Errorf("got %s (%v), want %s", o.Reason, o.Err, want)
	}
}
