package e2e_test

import (
	"net/http"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tyk_proxy/middleware/storetest"
)

// The standard variables of OpenTelemetry apply if, and only if, the
// configuration has no value.
func TestOtelEnvironment(t *testing.T) {
	for _, tt := range []struct{ scheme, protocol string }{{"grpc", "grpc"}, {"http", "http/protobuf"}} {
		for configured, service := range map[bool]string{false: "from-env", true: "from-config"} {
			named, other := newBreakable(t, tt.scheme), newBreakable(t, tt.scheme)
			named.up()
			other.up()
			cfg := testConfig(storetest.StartRedis(t).Addr, echo(t))
			if configured {
				named, other = other, named
				cfg.Telemetry.Traces.Endpoint, cfg.Telemetry.ServiceName = named.url, service
			}
			inEnv := map[bool]*breakable{false: named, true: other}[configured]
			p := startWith(t, cfg, []string{
				"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + inEnv.addr, "OTEL_EXPORTER_OTLP_PROTOCOL=" + tt.protocol,
				"OTEL_EXPORTER_OTLP_HEADERS=x-tenant=blue",
				"OTEL_SERVICE_NAME=from-env", "OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=test,service.name=outranked",
			})
			p.get("/api/v1/test", mintToken(t, cfg, 10).JWT).want(t, http.StatusOK, "")
			p.signal(syscall.SIGTERM)
			p.wantExit(0, stopWithin)

			if right, wrong := named.taken(), other.taken(); right == 0 || wrong != 0 || len(named.tenants) == 0 {
				t.Fatalf("%s over %s: %d spans went to the right collector, with %d headers, and %d to the other",
					service, tt.scheme, right, len(named.tenants), wrong)
			}
			got := map[string]string{"x-tenant": named.tenants[0]}
			for _, key := range []string{"service.name", "deployment.environment.name"} {
				got[key] = named.resources[0][key]
			}
			want := map[string]string{"x-tenant": "blue", "service.name": service, "deployment.environment.name": "test"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s over %s (-want +got):\n%s", service, tt.scheme, diff)
			}
		}
	}
}
