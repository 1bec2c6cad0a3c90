package config

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tyk_proxy/middleware"
)

// A faultRow is a file with one fault, and all the error says about it.
type faultRow struct{ file, want string }

func TestFileFaults(t *testing.T) {
	runFaults(t, []faultRow{
		{"",
			`-config: line 1:1: unexpected end of JSON input; mend the JSON there`},
		{`[]`,
			`-config: holds an array; want one JSON object`},
		{`null`,
			`-config: holds null; want one JSON object`},
		{"{\n  \"log\": {,}\n}",
			`-config: line 2:11: invalid character ',' looking for beginning of object key string; mend the JSON there`},
		{`{"log":{}`,
			`-config: line 1:9: unexpected end of JSON input; mend the JSON there`},
		{`{} {}`,
			`-config: line 1:4: invalid character '{' after top-level value; mend the JSON there`},
		{"{\"log\":{\"level\":\"\xff\"}}",
			`-config: is not UTF-8; save it as UTF-8`},
		{`{"log":null}`,
			`log: is null; want an object`},
		{`{"redis":"u:p@h:1"}`,
			`redis: is a string; want an object`},
		{`{"log":{},"log":{}}`,
			`log: duplicate key; keep one of them`},
		{`{"log":{"level":"Info","level":"Warn"}}`,
			`log.level: duplicate key; keep one of them`},
		{`{"log":{"Level":"Info"}}`,
			`log.Level: unknown key; did you mean log.level?`},
		{`{"redis":{"tiemout":"5s"}}`,
			`redis.tiemout: unknown key; did you mean redis.timeout?`},
		{`{"rate_limits":{"window":"60s"}}`,
			`rate_limits: unknown key; did you mean rate_limit?`},
		{`{"redis":{"abc":1}}`,
			`redis.abc: unknown key; remove it`},
		{`{"jwt_secret":"x"}`,
			`jwt_secret: unknown key; did you mean application.token.jwt_secret?`},
		{`{"log.level":"Info"}`,
			`log.level: key with a dot; write each section as an object`},
		{`{"colour scheme":1}`,
			`"colour scheme": unknown key; remove it`},
		{`{"log":{"level":null}}`,
			`log.level: is null; leave the key out, or give a string`},
		{`{"log":{"level":3}}`,
			`log.level = 3: is a number; want a string`},
		{`{"redis":{"timeout":60}}`,
			`redis.timeout = 60: is a number; want a duration such as "5s"`},
		{`{"log":{"level":{"a":1}}}`,
			`log.level: is an object; want a string`},
		{`{"log":{"colored":"yes"}}`,
			`log.colored = "yes": is a string; want true or false`},
		{`{"redis":{"db":1.5}}`,
			`redis.db = 1.5: is a number; want a whole number`},
		{`{"redis":{"db":true}}`,
			`redis.db = true: is a boolean; want a whole number`},
		{`{"redis":{"password":12345}}`,
			`redis.password = (5 bytes): is a number; want a string`},
		{`{"redis":{"timeout":"soon"}}`,
			`redis.timeout = "soon": is a string; want a duration such as "5s"`},
		{`{"telemetry":{"trusted_proxies":[1]}}`,
			`telemetry.trusted_proxies: is an array; want a list of strings`},
		{`{"telemetry":{"traces":{"sample_ratio":""}}}`,
			`telemetry.traces.sample_ratio = "": is a string; want a number`},
	})
}

func TestApplicationFaults(t *testing.T) {
	runFaults(t, []faultRow{
		{`{"application":{"port":-1}}`,
			`application.port = -1: is not a port; want 0 to 65535`},
		{`{"application":{"port":65536}}`,
			`application.port = 65536: is not a port; want 0 to 65535`},
		{`{"application":{"token":{"algorithm":"hs256"}}}`,
			`application.token.algorithm = "hs256": is not known; write it as HS256`},
		{`{"application":{"token":{"leeway":"61s"}}}`,
			`application.token.leeway = "61s": is out of range; want 0s to 60s`},
		{`{"application":{"max_body_bytes":-1}}`,
			`application.max_body_bytes = -1: is negative; want 0 or a number of bytes above it`},
		{`{"application":{"token":{"max_bytes":1023}}}`,
			`application.token.max_bytes = 1023: is out of range; want 1024 to 24576`},
		{`{"application":{"token":{"max_bytes":24577}}}`,
			`application.token.max_bytes = 24577: is out of range; want 1024 to 24576`},
		{`{"application":{"token":{"leeway":"-1s"}}}`,
			`application.token.leeway = "-1s": is out of range; want 0s to 60s`},
		{`{"application":{"token":{"algorithm":"ES256"}}}`,
			`application.token.public_key_file = "": is empty; ES256 needs the PEM file of the public key`},
		{`{"application":{"token":{"public_key_file":"k"}}}`,
			`application.token.public_key_file = "k": is set while HS256 uses a shared secret; leave it empty`},
		{`{"application":{"token":{"algorithm":"none"}}}`,
			`application.token.algorithm = "none": is not known; want one of ` + strings.Join(middleware.Algorithms(), ", ")},
		{`{"application":{"token":{"algorithm":"rs256","jwt_secret":"","public_key_file":"config.go"}}}`,
			`application.token.algorithm = "rs256": is not known; write it as RS256`},
		{`{"application":{"token":{"jwt_secret":"` + strings.Repeat(" \\t", 20) + `\n"}}}`,
			`application.token.jwt_secret = (41 bytes): is nothing but white space; want the secret itself`},
		{`{"redis":{"password":"\r\n"}}`,
			`redis.password = (2 bytes): is nothing but white space; want the secret itself`},
		{`{"telemetry":{"key_id_secret":" "}}`,
			`telemetry.key_id_secret = (1 bytes): is nothing but white space; want the secret itself`},
		{secretOf(31, "HS256"),
			`application.token.jwt_secret = (31 bytes): is too short for HS256; want at least 32 bytes`},
		{secretOf(47, "HS384"),
			`application.token.jwt_secret = (47 bytes): is too short for HS384; want at least 48 bytes`},
		{secretOf(63, "HS512"),
			`application.token.jwt_secret = (63 bytes): is too short for HS512; want at least 64 bytes`},
	})
}

func TestTargetHostFaults(t *testing.T) {
	for _, row := range [][3]string{
		{"backend:80", "backend:80", "has the wrong scheme, has no host"},
		{"", "", "has the wrong scheme, has no host"},
		{"ftp://backend", "ftp://backend", "has the wrong scheme"},
		{"http://:80", "http://:80", "has no host"},
		{"http://backend:", "http://backend:", "has no valid port"},
		{"http://backend:70000", "http://backend:70000", "has no valid port"},
		{"http://u:p@backend", "http://***@backend", "carries credentials"},
		{"http://backend/api", "http://backend/api", "has a path"},
		{"http://backend?k=v", "http://backend?***", "has a query"},
		{"http://backend#", "http://backend#***", "has a fragment"},
		{"http://u:p@back end", "http://***@back end", "is not a URL"},
	} {
		runFaults(t, []faultRow{{
			`{"application":{"target_host":"` + row[0] + `"}}`,
			`application.target_host = "` + row[1] + `": ` + row[2] + `; want http|https://host:port and nothing behind it`,
		}})
	}
}

func TestDurationFaults(t *testing.T) {
	rows := make([]faultRow, 0, 16)
	for _, key := range []string{
		"server_timeouts.readHeaderTimeout", "server_timeouts.readTimeout", "server_timeouts.writeTimeout",
		"server_timeouts.idleTimeout", "server_timeouts.shutdownTimeout",
		"redis.dial_timeout", "redis.timeout",
		"upstream.dial_timeout", "upstream.response_timeout",
	} {
		section, name, _ := strings.Cut(key, ".")
		rows = append(rows, faultRow{`{"` + section + `":{"` + name + `":"0s"}}`,
			key + ` = "0s": is not positive; want a duration such as "5s" above 0`})
	}
	for _, window := range []string{"0s", "-60s", "1.5s", "86401s"} {
		rows = append(rows, faultRow{`{"rate_limit":{"window":"` + window + `"}}`,
			`rate_limit.window = "` + window + `": is not a usable window; want whole seconds, 1s to 24h`})
	}
	rows = append(rows, faultRow{`{"server_timeouts":{"drainDelay":"-1s"}}`,
		`server_timeouts.drainDelay = "-1s": is negative; want 0 or a duration such as "5s" above it`})
	rows = append(rows, faultRow{`{"upstream":{"response_timeout":"30s"}}`,
		`upstream.response_timeout = "30s": leaves no time to answer the client; want less than server_timeouts.writeTimeout (30s)`})
	runFaults(t, rows)
}

func TestOtherFaults(t *testing.T) {
	runFaults(t, []faultRow{
		{`{"redis":{"addr":"redis"}}`,
			`redis.addr = "redis": is not host:port; want host:port such as tyk-redis:6379`},
		{`{"redis":{"addr":":6379"}}`,
			`redis.addr = ":6379": is not host:port; want host:port such as tyk-redis:6379`},
		{`{"redis":{"addr":"u:p@h:1"}}`,
			`redis.addr = "***@h:1": is not host:port; want host:port such as tyk-redis:6379`},
		{`{"redis":{"addr":"redis:0"}}`,
			`redis.addr = "redis:0": has no valid port; want host:port such as tyk-redis:6379`},
		{`{"redis":{"db":-1}}`,
			`redis.db = -1: is negative; want 0 or a whole number above it`},
		{`{"redis":{"tls_ca_file":"ca"}}`,
			`redis.tls_ca_file = "ca": is set while redis.tls is false; set redis.tls to true, or leave it empty`},
		{`{"upstream":{"idle_connections":0}}`,
			`upstream.idle_connections = 0: is not positive; want a whole number above 0`},
		{`{"telemetry":{"trace_id_header":"X Trace"}}`,
			`telemetry.trace_id_header = "X Trace": is not a header name; want letters, digits and hyphens such as X-Trace-Id, or nothing`},
		{`{"telemetry":{"traces":{"slow_threshold":"-1s"}}}`,
			`telemetry.traces.slow_threshold = "-1s": is negative; want 0 or a duration such as "5s" above it`},
		{`{"telemetry":{"traces":{"keep_per_second":-1}}}`,
			`telemetry.traces.keep_per_second = -1: is negative; want 0 or a whole number above it`},
		{`{"telemetry":{"trusted_proxies":["10.0.0.1","10.0.0.0/33"]}}`,
			`telemetry.trusted_proxies = "10.0.0.1,10.0.0.0/33": element 2 is not a network; want CIDR such as 10.0.0.0/8, or an address`},
		{`{"telemetry":{"traces":{"endpoint":"http://u:p@h:4318/v1/traces"}}}`,
			`telemetry.traces.endpoint = "http://***@h:4318/v1/traces": carries credentials; want grpc|grpcs|http|https://host:port`},
		{`{"telemetry":{"traces":{"endpoint":"jaeger:4317"}}}`,
			`telemetry.traces.endpoint = "jaeger:4317": has the wrong scheme, has no host; want grpc|grpcs|http|https://host:port`},
		{`{"telemetry":{"traces":{"sample_ratio":1.01}}}`,
			`telemetry.traces.sample_ratio = 1.01: is out of range; want 0 to 1`},
		{`{"log":{"level":"loud"}}`,
			`log.level = "loud": is not known; want one of Debug, Info, Warn, Error, Fatal`},
		{`{"log":{"format":"JSON"}}`,
			`log.format = "JSON": is not known; write it as json`},
		{`{"monitoring":{"ip":"localhost"}}`,
			`monitoring.ip = "localhost": is not an IP address; want one such as 0.0.0.0, 127.0.0.1 or ::`},
		{`{"monitoring":{"scheme":"ftp"}}`,
			`monitoring.scheme = "ftp": is not known; want one of http, https`},
		{`{"monitoring":{"port":65536}}`,
			`monitoring.port = 65536: is not a port; want 0 to 65535`},
		{`{"monitoring":{"port":8080}}`,
			`monitoring.port = 8080: is application.port too; give each listener a port of its own, or 0`},
		{`{"monitoring":{"tls_key_file":"k"}}`,
			`monitoring.tls_key_file = "k": is set while monitoring.scheme is http; leave it empty, or set the scheme to https`},
	})
}

func TestSampleRatioNaN(t *testing.T) {
	clearEnv(t)
	t.Setenv("TYK_PROX_TELEMETRY__TRACES__SAMPLE_RATIO", "NaN")
	_, _, err := Load("", true)
	if faults := faultsOf(t, err); len(faults) != 1 || !strings.Contains(faults[0], "= NaN: is out of range") {
		t.Errorf("%v", err)
	}
}

// Values are judged only once the structure is right: beside a key that could not
// be read, a value would be compared with a default that the operator did not mean.
func TestStructureComesFirst(t *testing.T) {
	clearEnv(t)
	t.Setenv("TYK_PROX_LOG__LEVEL", "loud")
	for _, timeouts := range []string{
		`"server_timeouts":{"writeTimeout":60}`,
		`"server_timeouts":{"writeTimout":"60s"}`,
		`"server_timeouts":"60s"`,
		`"server_timeout":{"writeTimeout":"60s"}`,
		`"server_timeouts":{},"server_timeouts":{"writeTimeout":"60s"}`,
	} {
		file := writeConfig(t, `{`+timeouts+`,"upstream":{"response_timeout":"40s"},"redis":{"tls":true,"tls_ca_file":"none"}}`)
		if _, _, err := Load(file, true); len(faultsOf(t, err)) != 1 {
			t.Errorf("%s: %v", timeouts, err)
		}
	}
}

func TestUnreadableFile(t *testing.T) {
	_, _, err := Load(filepath.Join(t.TempDir(), "none.json"), false)
	if faults := faultsOf(t, err); len(faults) != 1 || !strings.Contains(faults[0], "cannot be read: no such file") {
		t.Errorf("missing file: %v", err)
	}
	_, _, err = Load(t.TempDir(), false)
	if faults := faultsOf(t, err); len(faults) != 1 || !strings.Contains(faults[0], "is a directory") {
		t.Errorf("directory: %v", err)
	}
	_, _, err = Load(writeConfig(t, strings.Repeat(" ", maxFileBytes)+"{}"), false)
	if faults := faultsOf(t, err); len(faults) != 1 || !strings.Contains(faults[0], "it is larger than 1048576 bytes") {
		t.Errorf("large file: %v", err)
	}
}

func secretOf(bytes int, algorithm string) string {
	return `{"application":{"token":{"jwt_secret":"` + strings.Repeat("s", bytes) + `","algorithm":"` + algorithm + `"}}}`
}

func runFaults(t *testing.T, rows []faultRow) {
	t.Helper()
	for _, row := range rows {
		_, _, err := Load(writeConfig(t, row.file), false)
		faults := faultsOf(t, err)
		if diff := cmp.Diff([]string{row.want}, faults); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.file, diff)
		}
	}
}
