package telemetry

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
)

func TestResource(t *testing.T) {
	type attributes = map[attribute.Key]string
	for name, tt := range map[string]struct {
		configured, service, attributes string // of the environment: OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES
		want                            attributes
	}{
		"silence":         {want: attributes{"service.name": "tyk_proxy", "service.version": "v1"}},
		"config":          {"a", "b", "service.name=c,k=v", attributes{"service.name": "a", "service.version": "v1", "k": "v"}},
		"service name":    {"", "b", "service.name=c", attributes{"service.name": "b", "service.version": "v1"}},
		"attributes":      {"", "", "service.name=c", attributes{"service.name": "c", "service.version": "v1"}},
		"escaped":         {"", "", "k=a%2Cb", attributes{"service.name": "tyk_proxy", "service.version": "v1", "k": "a,b"}},
		"partly nonsense": {"", "", "k=v,nonsense", attributes{"service.name": "tyk_proxy", "service.version": "v1", "k": "v"}},
	} {
		t.Run(name, func(t *testing.T) {
			silence(t)
			t.Setenv("OTEL_SERVICE_NAME", tt.service)
			t.Setenv("OTEL_RESOURCE_ATTRIBUTES", tt.attributes)
			res, err := newResource(t.Context(), Config{ServiceName: tt.configured, Version: "v1"})
			if err != nil {
				t.Fatal(err)
			}
			got := make(attributes)
			for _, kv := range res.Attributes() {
				if !strings.HasPrefix(string(kv.Key), "telemetry.sdk.") {
					got[kv.Key] = kv.Value.AsString()
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("resource (-want +got):\n%s", diff)
			}
		})
	}
}

// silence clears OTEL_* variables of the machine.
func silence(t *testing.T) {
	t.Helper()
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "OTEL_") {
			t.Setenv(name, "") // the specification takes an empty variable for none
		}
	}
}
