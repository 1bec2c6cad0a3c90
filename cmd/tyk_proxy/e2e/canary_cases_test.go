package e2e_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"tyk_proxy/middleware/storetest"
)

// secretRedis starts a Redis with a password and stores records in it.
func (c canaries) secretRedis(tb testing.TB, args ...string) (*storetest.Server, *redis.Client) {
	tb.Helper()
	server := storetest.StartRedis(tb, append([]string{"--requirepass", c["Redis password"]}, args...)...)
	client := redis.NewClient(&redis.Options{Addr: server.Addr, Password: c["Redis password"]})
	tb.Cleanup(func() { _ = client.Close() }) // nothing was buffered
	record := `{"api_key":%q,"rate_limit":%d,"expires_at":"2100-01-01T00:00:00Z","allowed_routes":["/api/*","malformed"]}`
	for key, text := range map[string]string{
		"":         fmt.Sprintf(record, c["api key"], 1_000_000),
		"-spent":   fmt.Sprintf(record, c["api key"]+"-spent", 0),
		"-bad":     `{"api_key":"` + c["api key"] + `",rate_limit`,
		"-expired": `{"rate_limit":1,"expires_at":1,"allowed_routes":[]}`,
	} {
		if err := client.Set(context.Background(), "token:"+c["api key"]+key, text, 0).Err(); err != nil {
			tb.Fatal(err)
		}
	}
	return server, client
}

// outcomes sends requests with every outcome, and searches the gateway's own
// answers.
func (c canaries) outcomes(t *testing.T, p *program) {
	t.Helper()
	key, secret, later := c["api key"], c["JWT secret"], time.Now().Add(time.Hour)
	good := "Bearer " + c.jwt(t, key, secret, later)
	token := func(key string) string { return "Bearer " + c.jwt(t, key, secret, later) }
	for _, row := range []struct {
		status, method, path string
		fields               []string
	}{
		{"200", "GET", "/api/x", []string{"Authorization", good}},
		{"200", "HEAD", "/api/x", []string{"Authorization", good}},
		{"500", "GET", "/api/x", []string{"Authorization", good, "X-Answer", "500"}},
		{"401", "GET", "/api/x", nil},
		{"401", "GET", "/api/x", []string{"Authorization", "Basic " + key}},
		{"401", "GET", "/api/x", []string{"Authorization", good, "Authorization", good}},
		{"401", "GET", "/api/x", []string{"Authorization", good + strings.Repeat("x", 9000)}},
		{"401", "GET", "/api/x", []string{"Authorization", "Bearer " + key}},
		{"401", "GET", "/api/x", []string{"Authorization", good + "x"}},
		{"401", "GET", "/api/x", []string{"Authorization", "Bearer " + c.jwt(t, key, "another secret of 32 bytes or more", later)}},
		{"401", "GET", "/api/x", []string{"Authorization", "Bearer " + c.jwt(t, key, secret, time.Unix(1e9, 0))}},
		{"401", "GET", "/api/x", []string{"Authorization", token(key + " not a key")}},
		{"401", "GET", "/api/x", []string{"Authorization", token(key + "-unknown")}},
		{"401", "GET", "/api/x", []string{"Authorization", token(key + "-expired")}},
		{"500", "GET", "/api/x", []string{"Authorization", token(key + "-bad")}},
		{"400", "GET", "/api/../x", []string{"Authorization", good}},
		{"405", "BREW", "/api/x", []string{"Authorization", good}},
		{"403", "GET", "/other", []string{"Authorization", good}},
		{"400", "GET", "/%ff", []string{"Authorization", good, "User-Agent", "\xff\xfe"}},
		{"429", "GET", "/api/x", []string{"Authorization", token(key + "-spent")}},
		{"400", "POST", "/api/x", []string{"Authorization", good, "Transfer-Encoding", "chunked\r\nX: \r\n\r\nno chunk"}},
		{"504", "GET", "/api/x", []string{"Authorization", good, "X-Answer", "hang"}},
		{"502", "GET", "/api/x", []string{"Authorization", good, "X-Answer", "close"}},
		{"502", "GET", "/api/x", []string{"Authorization", good, "X-Answer", "status"}},
		{"502", "GET", "/api/x", []string{"Authorization", good, "X-Answer", "version"}},
		{"502", "GET", "/api/x", []string{"Authorization", good, "X-Answer", "header"}},
		{"502", "GET", "/api/x", []string{"Authorization", good, "X-Answer", "length"}},
		{"502", "GET", "/api/x", []string{"Authorization", good, "X-Answer", "encoding"}},
		{"200", "GET", "/api/x", []string{"Authorization", good, "X-Answer", "trailer"}},
		{"200", "GET", "/api/x", []string{"Authorization", good, "X-Answer", "chunk"}},
		{"200", "GET", "/api/x", []string{"Authorization", good, "X-Answer", "abort"}},
		{"200", "GET", "/api/x", []string{"Authorization", good, "X-Answer", "extra"}},
		{"101", "GET", "/api/x", []string{"Authorization", good, "X-Answer", "websocket", "Connection", "Upgrade", "Upgrade", "websocket"}},
		{"401", "GET", "/metrics", nil}, // of the public listener
	} {
		got := c.send(t, p.base, row.method, row.path, row.fields...)
		if !strings.HasPrefix(got, "HTTP/1.1 "+row.status) {
			t.Errorf("%s %s %q: %.20q, want %s", row.method, row.path, row.fields[max(0, len(row.fields)-1):], got, row.status)
		}
		c.wantNone(t, "the answer of "+row.method+" "+row.path, got)
	}
}

// No span, metric, log line or answer contains a secret, for any outcome of a
// request.
func TestCanary(t *testing.T) {
	for _, format := range []string{"json", "console"} {
		t.Run(format, func(t *testing.T) {
			c, spans := newCanaries(), startTap(t)
			server, client := c.secretRedis(t)
			cfg := c.config(server.Addr, indiscreet(t), spans.url)
			begin := start
			if format == "console" {
				begin = startConsole
			}
			p := begin(t, cfg)
			c.outcomes(t, p)
			good := "Bearer " + c.jwt(t, c["api key"], c["JWT secret"], time.Now().Add(time.Hour))
			// Redis answers with error replies.
			for _, command := range []string{
				"ACL SETUSER default -getrange", "ACL SETUSER default +getrange -evalsha -eval",
				"ACL SETUSER default +evalsha +eval resetkeys ~x", "ACL SETUSER default ~*",
				"CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0",
			} {
				if err := client.Do(context.Background(), words(command)...).Err(); err != nil {
					t.Fatal(err)
				}
				c.wantNone(t, "the answer after "+command, c.send(t, p.base, http.MethodGet, "/api/x", "Authorization", good))
			}
			server.Stop()
			if got := c.send(t, p.base, http.MethodGet, "/api/x", "Authorization", good); !strings.HasPrefix(got, "HTTP/1.1 503") {
				t.Errorf("without Redis: %.20q, want 503", got)
			}
			c.settle(t, p, spans)
			if len(spans.spans) < 100 {
				t.Errorf("%d spans were exported, want those of all requests", len(spans.spans))
			}
		})
	}
}

func words(command string) []any {
	var all []any
	for word := range strings.FieldsSeq(command) {
		all = append(all, word)
	}
	return all
}

// A Redis that does not know a command quotes its arguments, such as the
// password or the key.
func TestCanaryInRedisErrors(t *testing.T) {
	for _, command := range []string{"HELLO", "AUTH", "GETRANGE", "EVALSHA"} {
		t.Run(command, func(t *testing.T) {
			c, spans := newCanaries(), startTap(t)
			// If the gateway cannot log in, it needs no records.
			args := []string{"--rename-command", command, ""}
			var server *storetest.Server
			if command == "HELLO" || command == "AUTH" {
				server = storetest.StartRedis(t, append(args, "--requirepass", c["Redis password"])...)
			} else {
				server, _ = c.secretRedis(t, args...)
			}
			p := start(t, c.config(server.Addr, indiscreet(t), spans.url))
			good := "Bearer " + c.jwt(t, c["api key"], c["JWT secret"], time.Now().Add(time.Hour))
			for range 3 {
				c.wantNone(t, "the answer", c.send(t, p.base, http.MethodGet, "/api/x", "Authorization", good))
			}
			p.get("/ready", "")
			c.settle(t, p, spans)
		})
	}
	t.Run("wrong password", func(t *testing.T) {
		c, spans := newCanaries(), startTap(t)
		server := storetest.StartRedis(t, "--requirepass", "another")
		p := start(t, c.config(server.Addr, indiscreet(t), spans.url))
		good := "Bearer " + c.jwt(t, c["api key"], c["JWT secret"], time.Now().Add(time.Hour))
		if got := c.send(t, p.base, http.MethodGet, "/api/x", "Authorization", good); !strings.HasPrefix(got, "HTTP/1.1 503") {
			t.Errorf("%.20q, want 503", got)
		}
		c.settle(t, p, spans)
	})
}

// The errors about an invalid configuration contain no secret, in any key.
func TestCanaryInFaults(t *testing.T) {
	c := newCanaries()
	secret, password := c["JWT secret"], c["Redis password"]
	c["short JWT secret"] = secret[:20] // which is a fault
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	busy := c.config("127.0.0.1:1", "http://127.0.0.1:1", "")
	busy.Monitoring.Port = taken.Addr().(*net.TCPAddr).Port
	file := writeConfig(t, busy)
	rows := make([][]string, 0, 32)
	rows = append(rows, []string{"-version"}, []string{"-help"}, []string{"-no-such-flag"},
		[]string{"-config", file}, []string{"-config", file, "-healthcheck"})
	for _, text := range []string{
		`{"application":{"token":{"jwt_secret":"` + secret + `","algorithm":"HS512"}}}`,
		`{"application":{"token":{"jwt_secret":"` + c["short JWT secret"] + `"}}}`,
		`{"application":{"token":{"jwt_secret":["` + secret + `"]}}}`,
		`{"application":{"token":{"jwt_secret":{"` + secret + `":1}}}}`,
		`{"application":{"token":{"jwt_secrt":"` + secret + `"}}}`,
		`{"application":{"token":{"jwt_secret":"` + secret + `","jwt_secret":"` + password + `"}}}`,
		`{"application":{"token":{"jwt_secret":"` + secret + `}}}`,
		`{"application":{"token":{"jwt_secret":` + secret + `}}}`,
		`{"redis":{"addr":"redis://:` + password + `@127.0.0.1:1"}}`,
		`{"redis":{"addr":":` + password + `@127.0.0.1:1"}}`,
		`{"redis":{"password":{"a":"` + password + `"}}}`,
		`{"application":{"target_host":"http://user:` + password + `@127.0.0.1:1"}}`,
		`{"application":{"target_host":"http://127.0.0.1:1?key=` + password + `"}}`,
		`{"telemetry":{"traces":{"endpoint":"http://user:` + password + `@127.0.0.1:1:2"}}}`,
		`{"telemetry":{"traces":{"endpoint":"ftp://user:` + password + `@127.0.0.1:1"}}}`,
		`{"telemetry":{"key_id_secret":["` + c["key id secret"] + `"]}}`,
	} {
		rows = append(rows, []string{"-config", writeText(t, "config.json", text)})
	}
	for _, args := range rows {
		for _, withEnv := range []bool{false, true} {
			if withEnv && slices.Contains(args, "-config") {
				args = append(slices.Clone(args), "-env")
			}
			end := runOnce(t, []string{
				"TYK_PROX_APPLICATION__TOKEN__JWT_SECRET=" + secret, "TYK_PROX_REDIS__PASSWORD=" + password,
				fmt.Sprint("TYK_PROX_MONITORING__PORT=", busy.Monitoring.Port),
			}, args...)
			if end.code == 0 && len(args) > 1 {
				t.Errorf("%q: exit code 0", args[1:])
			}
			c.wantNone(t, "the output", end.stdout+end.stderr)
		}
	}
}

// OpenTelemetry quotes variables that it cannot parse, which may contain the
// credentials of a collector.
func TestCanaryInOTLPHeaders(t *testing.T) {
	for _, format := range []string{"authorization: Bearer %s", "api-key=%s%%zz", "%s", "bad key %s=x"} {
		c := canaries{"OTLP header": "canaryotlpheader0123456789abcdefghijklmnop"}
		spans := startTap(t)
		cfg := testConfig(storetest.StartRedis(t).Addr, echo(t))
		cfg.Telemetry.Traces.Endpoint = spans.url
		p := startWith(t, cfg, []string{"OTEL_EXPORTER_OTLP_HEADERS=" + fmt.Sprintf(format, c["OTLP header"])})
		p.get("/api/v1/test", "")
		p.signal(syscall.SIGTERM)
		p.wantExit(0, stopWithin)
		c.wantNone(t, "the log", p.stderr.String()+p.stdout.String())
		if !slices.Contains(p.logged("component"), "opentelemetry") || !strings.Contains(p.stderr.String(), "OTEL_EXPORTER_OTLP_HEADERS") {
			t.Errorf("%q: the log does not name the invalid variable:\n%s", format, c.masked(p.stderr.String()))
		}
	}
}
