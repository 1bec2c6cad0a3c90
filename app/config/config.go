//nolint:lll // a struct tag cannot be wrapped
package config

import (
	"time"

	"tyk_proxy/middleware"
)

// DemoSecret is the signing secret the project ships so that a first run works
// without set-up. Everybody can read it, so Load warns when it is in use.
const DemoSecret = "II+NZDtODCTp0eAGX0/3HNdaExOf+M1uesFHdN+IFcTD774aaeJrJIOMS4aYhi+l" //nolint:gosec // public on purpose

// Config is everything an operator can set. The tags are the single source of
// the JSON keys, the variables and the documentation: see keysOf.
//
// There are no env-default tags on purpose: cleanenv applies those to every
// zero value, so an explicit 0 or false would be lost. Default holds the defaults
// instead.
type Config struct {
	Application    Application    `json:"application" env-prefix:"TYK_PROX_APPLICATION__"`
	ServerTimeouts ServerTimeouts `json:"server_timeouts" env-prefix:"TYK_PROX_SERVER_TIMEOUTS__"`
	Redis          Redis          `json:"redis" env-prefix:"TYK_PROX_REDIS__"`
	RateLimit      RateLimit      `json:"rate_limit" env-prefix:"TYK_PROX_RATE_LIMIT__"`
	Upstream       Upstream       `json:"upstream" env-prefix:"TYK_PROX_UPSTREAM__"`
	Telemetry      Telemetry      `json:"telemetry" env-prefix:"TYK_PROX_TELEMETRY__"`
	Log            Log            `json:"log" env-prefix:"TYK_PROX_LOG__"`
	Monitoring     Monitoring     `json:"monitoring" env-prefix:"TYK_PROX_MONITORING__"`
}

// Application says where the gateway listens, whom it protects and which
// tokens it believes.
type Application struct {
	TargetHost string `json:"target_host" env:"TARGET_HOST" env-description:"Base URL of the protected backend: scheme, host and optional port, without a path."`
	Port       int    `json:"port" env:"PORT" env-description:"Port the gateway listens on; 0 picks a free one."`
	// MaxBodyBytes is an int so that it reads like the other numbers.
	MaxBodyBytes int   `json:"max_body_bytes" env:"MAX_BODY_BYTES" env-description:"Largest request body forwarded, in bytes; 0 means no limit."`
	Token        Token `json:"token" env-prefix:"TOKEN__"`
}

// Token is how a JWT is verified.
type Token struct {
	JWTSecret     Secret   `json:"jwt_secret" env:"JWT_SECRET" env-description:"Shared secret of the HS algorithms, at least as long as their hash (32, 48 or 64 bytes)."`
	Algorithm     string   `json:"algorithm" env:"ALGORITHM" env-description:"The only signature algorithm accepted: HS, RS, PS or ES with 256, 384 or 512, or EdDSA."`
	PublicKeyFile string   `json:"public_key_file" env:"PUBLIC_KEY_FILE" env-description:"PEM file with the public key; required by every algorithm but HS, refused by HS."`
	Leeway        Duration `json:"leeway" env:"LEEWAY" env-description:"Clock difference forgiven when exp, nbf and iat are checked, 0s to 60s."`
	MaxBytes      int      `json:"max_bytes" env:"MAX_BYTES" env-description:"Largest JWT accepted, in bytes, 1024 to 24576; the limit for all of a request's headers is 32 KiB."`
}

// ServerTimeouts bounds what one client may cost and how long a stop takes.
type ServerTimeouts struct {
	ReadHeaderTimeout Duration `json:"readHeaderTimeout" env:"READHEADERTIMEOUT" env-description:"Time a client has to send its request headers."`
	ReadTimeout       Duration `json:"readTimeout" env:"READTIMEOUT" env-description:"Time a client has to send the whole request."`
	WriteTimeout      Duration `json:"writeTimeout" env:"WRITETIMEOUT" env-description:"Time from the end of the request headers to the first byte of the response; after that, how long the client may take to read each part. The backend's own pauses are not limited."`
	IdleTimeout       Duration `json:"idleTimeout" env:"IDLETIMEOUT" env-description:"Time an idle keep-alive connection stays open."`
	DrainDelay        Duration `json:"drainDelay" env:"DRAINDELAY" env-description:"Time after SIGTERM in which requests are still accepted while /ready already answers 503."`
	ShutdownTimeout   Duration `json:"shutdownTimeout" env:"SHUTDOWNTIMEOUT" env-description:"Time the requests in flight may take to end after the drain delay."`
}

// Redis is the store of tokens and counters.
type Redis struct {
	Addr            string   `json:"addr" env:"ADDR" env-description:"Redis address as host:port."`
	Username        string   `json:"username" env:"USERNAME" env-description:"Redis ACL user; empty means the default user."`
	Password        Secret   `json:"password" env:"PASSWORD" env-description:"Redis password; empty means no authentication."`
	DB              int      `json:"db" env:"DB" env-description:"Redis database number."`
	TLS             bool     `json:"tls" env:"TLS" env-description:"Whether to connect to Redis over TLS."`
	TLSCAFile       string   `json:"tls_ca_file" env:"TLS_CA_FILE" env-description:"PEM file with the authorities that may sign the Redis certificate; empty means the system's."`
	DialTimeout     Duration `json:"dial_timeout" env:"DIAL_TIMEOUT" env-description:"Time to open a connection to Redis."`
	Timeout         Duration `json:"timeout" env:"TIMEOUT" env-description:"Time without a byte from Redis after which it counts as gone: whoever waits is answered, and nothing is sent until it answers again."`
	ClientSideCache bool     `json:"client_side_cache" env:"CLIENT_SIDE_CACHE" env-description:"Whether records are kept in memory and Redis tells of their changes (RESP3 tracking, database 0 only); a change then takes effect within a quarter of a second."`
}

// DefaultPort is the port that the gateway listens on by default.
const DefaultPort = 8080

// OnErrorAllow is the value of rate_limit.on_error that lets requests pass.
const OnErrorAllow = "allow"

// RateLimit is the fixed window shared by every token.
type RateLimit struct {
	Window  Duration `json:"window" env:"WINDOW" env-description:"Length of the counting window: whole seconds, 1s to 24h."`
	OnError string   `json:"on_error" env:"ON_ERROR" env-description:"What happens to a request that cannot be counted because the limiter fails: deny (503) or allow (it passes uncounted, verdict bypass). Records must be readable either way."`
}

// Upstream is how the gateway talks to the backend.
type Upstream struct {
	DialTimeout     Duration `json:"dial_timeout" env:"DIAL_TIMEOUT" env-description:"Time to open a connection to the backend."`
	ResponseTimeout Duration `json:"response_timeout" env:"RESPONSE_TIMEOUT" env-description:"Time until the backend's response headers; must be shorter than server_timeouts.writeTimeout."`
	IdleConnections int      `json:"idle_connections" env:"IDLE_CONNECTIONS" env-description:"Idle connections kept open to the backend. If more requests than that run at once, each of the others opens a connection of its own."`
}

// Telemetry is what the gateway tells about itself and its clients.
type Telemetry struct {
	ServiceName    string   `json:"service_name" env:"SERVICE_NAME" env-description:"service.name of the traces and metrics; empty leaves it to OTEL_SERVICE_NAME, else it is tyk_proxy."`
	TrustedProxies []string `json:"trusted_proxies" env:"TRUSTED_PROXIES" env-description:"Networks (CIDR, comma separated in the variable) whose X-Forwarded-*, traceparent and baggage headers are believed."`
	KeyIDSecret    Secret   `json:"key_id_secret" env:"KEY_ID_SECRET" env-description:"HMAC key that turns an api key into gateway.key.id; empty derives one from the JWT secret, or with a public key makes one for each start."`
	TraceIDHeader  string   `json:"trace_id_header" env:"TRACE_ID_HEADER" env-description:"Response header that carries the trace id; empty sends none."`
	Traces         Traces   `json:"traces" env-prefix:"TRACES__"`
}

// Traces is where the spans go and how many of them.
type Traces struct {
	Endpoint      string   `json:"endpoint" env:"ENDPOINT" env-description:"OTLP endpoint: grpc://jaeger:4317 or grpcs:// for gRPC, http://jaeger:4318 or https:// for HTTP; empty leaves it to OTEL_EXPORTER_OTLP_ENDPOINT, else no traces are exported."`
	SampleRatio   float64  `json:"sample_ratio" env:"SAMPLE_RATIO" env-description:"Share of the allowed, quick requests whose traces are exported, 0 to 1."`
	SlowThreshold Duration `json:"slow_threshold" env:"SLOW_THRESHOLD" env-description:"A request that takes this long is kept at any ratio; 0s keeps none for being slow."`
	KeepPerSecond int      `json:"keep_per_second" env:"KEEP_PER_SECOND" env-description:"Most traces of one kind (failures, the backend's 5xx, slow requests, each stage's refusals) that are kept each second though the ratio did not choose them; 0 keeps none."`
}

// Log is how the log lines look.
type Log struct {
	Level   string `json:"level" env:"LEVEL" env-description:"Lowest level written, in any case: Debug (allowed requests), Info (refused ones), Warn, Error (failures) or Fatal."`
	Format  string `json:"format" env:"FORMAT" env-description:"Form of a log line: json or console."`
	Colored bool   `json:"colored" env:"COLORED" env-description:"Whether console lines are coloured on a terminal."`
}

// Monitoring is the listener of /metrics.
type Monitoring struct {
	IP          string `json:"ip" env:"IP" env-description:"Address the metrics listener binds to."`
	Scheme      string `json:"scheme" env:"SCHEME" env-description:"Scheme of the metrics listener: http or https."`
	Port        int    `json:"port" env:"PORT" env-description:"Port of the metrics listener; 0 picks a free one."`
	TLSCertFile string `json:"tls_cert_file" env:"TLS_CERT_FILE" env-description:"PEM certificate of the metrics listener; required by https, refused by http."`
	TLSKeyFile  string `json:"tls_key_file" env:"TLS_KEY_FILE" env-description:"PEM private key of the metrics listener; required by https, refused by http."`
}

// Default returns the configuration without a file and without variables.
func Default() Config {
	return Config{
		Application: Application{
			TargetHost: "http://backend-whoami:80", Port: DefaultPort,
			Token: Token{JWTSecret: DemoSecret, Algorithm: "HS256", Leeway: seconds(5), MaxBytes: middleware.DefaultMaxTokenBytes},
		},
		ServerTimeouts: ServerTimeouts{
			ReadHeaderTimeout: seconds(5), ReadTimeout: seconds(30), WriteTimeout: seconds(30), IdleTimeout: seconds(60),
			DrainDelay: seconds(5), ShutdownTimeout: seconds(20),
		},
		Redis: Redis{
			Addr: "tyk-redis:6379", ClientSideCache: true,
			DialTimeout: Duration(500 * time.Millisecond), Timeout: Duration(100 * time.Millisecond),
		},
		RateLimit: RateLimit{Window: seconds(60), OnError: "deny"},
		Upstream:  Upstream{DialTimeout: seconds(2), ResponseTimeout: seconds(15), IdleConnections: 2048},
		Telemetry: Telemetry{
			// Empty, not nil: it must encode as [] to be readable again.
			TrustedProxies: []string{}, TraceIDHeader: "X-Trace-Id",
			Traces: Traces{SampleRatio: 1, SlowThreshold: seconds(1), KeepPerSecond: 50},
		},
		Log:        Log{Level: "Debug", Format: "console", Colored: true},
		Monitoring: Monitoring{IP: "0.0.0.0", Scheme: "http", Port: 9090},
	}
}
