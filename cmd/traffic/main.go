// Command traffic sends a limited mix of requests to a running gateway, as
// data for its dashboards, alerts and traces: allowed requests, every refusal
// that a client can cause, slow requests and upstream timeouts. At the end it
// prints the answers and links to the dashboards.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9/logging"

	"tyk_proxy/app/config"
	"tyk_proxy/app/config/dotenv"
)

// settings are the flags. Their defaults come from the environment, .env and
// the gateway's configuration.
type settings struct {
	gateway, redis, secret      string
	service                     string
	grafana, prometheus, jaeger string
	rate                        int
	duration                    time.Duration
	json                        bool
}

// The limits prevent a load test by mistake.
const (
	maxRate     = 1000
	maxDuration = time.Hour
)

func main() {
	logging.Disable() // go-redis would also log a failed dial
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr)) //nolint:gocritic // the process ends
}

// run returns the exit code: 0 if every answer was expected, 1 if not, 2 if
// the command line is invalid.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "traffic:", strings.ReplaceAll(err.Error(), "\n", "; "))
		return 2
	}
	if err := drive(ctx, s, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "traffic:", strings.ReplaceAll(err.Error(), "\n", "; "))
		return 1
	}
	return 0
}

// drive checks the gateway, mints the tokens, sends the mix and prints the report.
func drive(ctx context.Context, s settings, stdout, stderr io.Writer) error {
	err := ready(ctx, s)
	var kinds []kind
	if err == nil {
		kinds, err = prepare(ctx, s)
	}
	switch {
	case ctx.Err() != nil:
		return errors.New("interrupted before anything was sent")
	case err != nil:
		return err
	}
	t, err := send(ctx, s, kinds, stderr)
	if err != nil {
		return err
	}
	return t.report(context.WithoutCancel(ctx), stdout, s) // also after an interrupt
}

// parse parses the command line. The defaults of the flags come from .env and the
// environment, so it reads them first.
func parse(args []string, stderr io.Writer) (settings, error) {
	if err := dotenv.Read(); err != nil {
		return settings{}, err
	}
	var s settings
	flags := flag.NewFlagSet("traffic", flag.ContinueOnError)
	flags.SetOutput(stderr)
	// The environment and .env set the ports that docker-compose.yml
	// publishes.
	at := func(variable string, usual int) string {
		port, err := dotenv.Port(variable, usual)
		if err != nil {
			fmt.Fprintln(stderr, "traffic:", err)
		}
		return "localhost:" + strconv.Itoa(port)
	}
	flags.StringVar(&s.gateway, "gateway", "http://"+at("GATEWAY_PORT", config.DefaultPort), "URL of the gateway")
	flags.StringVar(&s.redis, "redis", at("REDIS_PORT", 6379), "address of the gateway's Redis, for the tokens")
	flags.StringVar(&s.secret, "secret", "", "JWT signing secret of the gateway (HS256), unless GATEWAY_CONFIG names its configuration")
	flags.StringVar(&s.grafana, "grafana", "http://"+at("GRAFANA_PORT", 3000), "URL of Grafana, for the links")
	flags.StringVar(&s.prometheus, "prometheus", "http://"+at("PROMETHEUS_PORT", 9091), "URL of Prometheus, for the links")
	flags.StringVar(&s.jaeger, "jaeger", "http://"+at("JAEGER_PORT", 16686), "URL of Jaeger, for the links")
	flags.StringVar(&s.service, "service", "", "service.name of the gateway, for the link to its traces, unless its configuration has one")
	flags.IntVar(&s.rate, "rate", 40, "requests a second, at most 1000")
	flags.DurationVar(&s.duration, "duration", 45*time.Second, "how long, at most 1h")
	flags.BoolVar(&s.json, "json", false, "report as JSON")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	gateway, err := dotenv.Gateway()
	if err != nil {
		return s, err
	}
	s.secret = cmp.Or(s.secret, string(gateway.Application.Token.JWTSecret))
	s.service = cmp.Or(s.service, gateway.Telemetry.ServiceName, "tyk_proxy")
	return s, s.check(flags)
}

// check returns all faults of the settings. It removes trailing slashes of URLs.
func (s *settings) check(flags *flag.FlagSet) error {
	var faults []error
	fault := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(flags.NArg() > 0, "unexpected argument %q: all settings are flags, see -help", flags.Arg(0))
	fault(s.secret == "", "-secret is missing: give it the gateway's application.token.jwt_secret (make traffic does)")
	fault(s.rate < 1 || s.rate > maxRate, "-rate is %d: use 1 to %d", s.rate, maxRate)
	fault(s.duration < time.Second || s.duration > maxDuration, "-duration is %s: use 1s to %s", s.duration, maxDuration)
	for name, text := range map[string]string{
		"gateway": s.gateway, "grafana": s.grafana, "prometheus": s.prometheus, "jaeger": s.jaeger,
	} {
		u, err := url.Parse(text)
		bad := err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https"
		fault(bad, "-%s is not a URL such as http://localhost:8080", name)
	}
	for _, u := range []*string{&s.gateway, &s.grafana, &s.prometheus, &s.jaeger} {
		*u = strings.TrimRight(*u, "/") // callers append a path with a slash
	}
	return errors.Join(faults...)
}
