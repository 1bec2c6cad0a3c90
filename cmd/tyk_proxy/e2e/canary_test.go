package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"tyk_proxy/app/config"
)

// canaries are the secrets of one run: random values that no output of the
// gateway may contain.
type canaries map[string]string

func newCanaries() canaries {
	c := canaries{}
	for _, name := range []string{"api key", "JWT secret", "Redis password", "key id secret", "query string", "cookie", "baggage"} {
		c[name] = "canary" + strings.ReplaceAll(name, " ", "") + "0123456789abcdefghijklmnop"
	}
	return c
}

// jwt returns a token with the api key, and adds its parts to the canaries.
func (c canaries) jwt(tb testing.TB, key, secret string, expires time.Time) string {
	tb.Helper()
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"api_key": key, "rate_limit": 10, "allowed_routes": []string{"/api/*"}, "exp": expires.Unix(),
		"expires_at": expires.UTC().Format(time.RFC3339),
	}).SignedString([]byte(secret))
	if err != nil {
		tb.Fatal(err)
	}
	parts := strings.Split(text, ".")
	c[fmt.Sprint("claims of JWT ", len(c))], c[fmt.Sprint("signature of JWT ", len(c))] = parts[1], parts[2]
	return text
}

// spellings are the encodings of a secret to search for: plain, hexadecimal,
// escaped for a URL, and base64 at three offsets.
func spellings(secret string) []string {
	all := make([]string, 0, 16)
	all = append(all, secret, hex.EncodeToString([]byte(secret)), strings.ToUpper(hex.EncodeToString([]byte(secret))),
		url.QueryEscape(secret), url.PathEscape(secret), strings.ToUpper(secret), strings.ToLower(secret))
	for shift := range 3 {
		// The first and last characters depend on the neighbouring bytes.
		padded := append(make([]byte, shift), secret...)
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := encoding.EncodeToString(padded)
			all = append(all, text[4:len(text)-4])
		}
	}
	return all
}

// wantNone searches a text for every spelling of every canary.
func (c canaries) wantNone(tb testing.TB, where, text string) {
	tb.Helper()
	for name, secret := range c {
		for _, spelling := range spellings(secret) {
			if i := strings.Index(text, spelling); i >= 0 {
				tb.Errorf("%s contains the %s, after %q", where, name, c.masked(text[max(0, i-200):i]))
				break
			}
		}
	}
}

// masked returns the text without secrets.
func (c canaries) masked(text string) string {
	for name, secret := range c {
		for _, spelling := range spellings(secret) {
			text = strings.ReplaceAll(text, spelling, "<"+name+">")
		}
	}
	return text
}

// tap is a collector that also stores the raw messages.
type tap struct {
	*collector

	mu  sync.Mutex
	raw bytes.Buffer
}

func startTap(tb testing.TB) *tap {
	tb.Helper()
	c := &tap{collector: &collector{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // cut short it does not parse
		c.mu.Lock()
		c.raw.Write(body)
		c.mu.Unlock()
		r.Body = io.NopCloser(bytes.NewReader(body))
		c.receive(w, r)
	}))
	tb.Cleanup(server.Close)
	c.url = server.URL
	return c
}

// indiscreet is a backend that copies the whole request into a part of its
// response. X-Answer selects the part.
func indiscreet(tb testing.TB) string {
	tb.Helper()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		said := strings.Join([]string{r.RequestURI, r.Header.Get("Authorization"), r.Header.Get("Cookie")}, " ")
		text := map[string]string{
			"status":   "HTTP/1.1 " + said + "\r\n\r\n",
			"version":  said + "\r\n\r\n",
			"header":   "HTTP/1.1 200 OK\r\n" + said + "\r\n\r\n",
			"length":   "HTTP/1.1 200 OK\r\nContent-Length: " + said + "\r\n\r\n",
			"encoding": "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + said + "\r\n\r\n",
			"trailer":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n" + said + "\r\n\r\n",
			"chunk":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n" + said + "\r\n",
			"extra":    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi" + said,
			"close":    "",
			"abort":    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 200\r\n\r\nhi",
		}
		switch answer := r.Header.Get("X-Answer"); answer {
		case "":
			fmt.Fprint(w, "hi")
		case "hang":
			<-r.Context().Done()
		case "websocket":
			echoUpgraded(w)
		case "500":
			w.WriteHeader(http.StatusInternalServerError)
		default:
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			fmt.Fprint(conn, text[answer])
			time.Sleep(20 * time.Millisecond) // what is extra has to arrive while the connection is idle
			conn.Close()
		}
	}))
	tb.Cleanup(backend.Close)
	return backend.URL
}

// send sends a request with secrets in every part, and returns the raw answer.
func (c canaries) send(tb testing.TB, base, method, path string, fields ...string) string {
	tb.Helper()
	conn := dialURL(tb, base)
	defer conn.Close()
	fmt.Fprintf(conn, "%s %s?q=%s&%s HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nCookie: session=%s\r\nBaggage: user=%s\r\n",
		method, path, c["query string"], c["query string"], c["cookie"], c["baggage"])
	for i := 0; i+1 < len(fields); i += 2 {
		fmt.Fprintf(conn, "%s: %s\r\n", fields[i], fields[i+1])
	}
	fmt.Fprint(conn, "\r\n")
	if strings.Contains(strings.Join(fields, " "), "websocket") {
		line, _ := bufio.NewReader(conn).ReadString('\n') // the rest is the backend's
		return line
	}
	got, _ := io.ReadAll(conn) // a response that breaks off is one of the cases
	return string(got)
}

func (c canaries) config(redis, target, collector string) config.Config {
	cfg := testConfig(redis, target)
	cfg.Application.Token.JWTSecret = config.Secret(c["JWT secret"])
	cfg.Redis.Password = config.Secret(c["Redis password"])
	cfg.Telemetry.KeyIDSecret = config.Secret(c["key id secret"])
	cfg.Telemetry.Traces.Endpoint = collector
	cfg.Telemetry.Traces.KeepPerSecond = 10_000
	cfg.Upstream.ResponseTimeout = config.Duration(300 * time.Millisecond)
	return cfg
}

// startConsole starts a gateway with the console log format, on known ports.
func startConsole(tb testing.TB, cfg config.Config) *program {
	tb.Helper()
	cfg.Log.Format = "console"
	for _, port := range []*int{&cfg.Application.Port, &cfg.Monitoring.Port} {
		listener, err := net.Listen("tcp", ":0")
		if err != nil {
			tb.Fatal(err)
		}
		*port = listener.Addr().(*net.TCPAddr).Port
		listener.Close()
	}
	p := &program{
		tb: tb, ended: make(chan struct{}),
		base:    fmt.Sprint("http://127.0.0.1:", cfg.Application.Port),
		metrics: fmt.Sprint("http://127.0.0.1:", cfg.Monitoring.Port),
	}
	p.cmd = command(context.Background(), nil, "-config", writeConfig(tb, cfg))
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // the test reads the exit code
	}()
	tb.Cleanup(func() {
		_ = p.cmd.Process.Kill() // mostly it has ended already
		<-p.ended
	})
	eventually(tb, startWithin, "the gateway serves", func() bool {
		got, err := tryURL(http.MethodGet, p.base+"/health", "")
		return err == nil && got.status == http.StatusOK
	})
	return p
}

// settle stops a gateway and searches all of its output.
func (c canaries) settle(tb testing.TB, p *program, spans *tap) {
	tb.Helper()
	for _, accept := range []string{"text/plain", "application/openmetrics-text; version=1.0.0"} {
		request, err := http.NewRequest(http.MethodGet, p.metrics+"/metrics", http.NoBody)
		if err != nil {
			tb.Fatal(err)
		}
		request.Header.Set("Accept", accept)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			tb.Fatal(err)
		}
		text, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || !bytes.Contains(text, []byte("gateway_decisions_total")) {
			tb.Errorf("no metrics: %v", err)
		}
		c.wantNone(tb, "/metrics as "+accept, string(text))
	}
	p.signal(os.Interrupt)
	p.wantExit(0, stopWithin)
	c.wantNone(tb, "stdout", p.stdout.String())
	c.wantNone(tb, "the log", p.stderr.String())
	spans.mu.Lock()
	c.wantNone(tb, "the export", spans.raw.String())
	spans.mu.Unlock()
	spans.requests(tb) // complains of exports that are none
	for _, span := range spans.spans {
		c.wantNone(tb, "span "+span.GetName(), span.String())
	}
}
