package redisstore_test

import (
	"strings"
	"testing"

	"tyk_proxy/middleware/storetest"
)

// The permissions that OPERATING.md names suffice, without PING. If one is
// missing, the probe says which command Redis refused.
func TestACL(t *testing.T) {
	const all = "+getrange +eval +evalsha +time +incr +pexpire +client|tracking"
	for missing, optional := range map[string]bool{"": false, "+getrange": false, "+eval +evalsha": false, "+evalsha +time": true} {
		server := storetest.StartRedis(t)
		admin := newAdmin(t, server.Addr)
		args := []any{"ACL", "SETUSER", "gateway", "on", ">secret", "~token:*", "~rate_count:*"}
		for permission := range strings.FieldsSeq(strings.Replace(all, missing, "", 1)) {
			args = append(args, permission)
		}
		if err := admin.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
		o := options(server.Addr, budget)
		o.Username, o.Password, o.ClientSideCache, o.CountOptional = "gateway", "secret", true, optional
		p := newPorts(t, o)
		_ = p.client.Open(t.Context())
		err := p.client.Probe(t.Context())
		if ready := missing == "" || optional; ready != (err == nil) {
			t.Errorf("without %q: %v", missing, err)
		}
		if name := missing[strings.LastIndexByte(missing, '+')+1:]; err != nil && !strings.Contains(err.Error(), name) {
			t.Errorf("without %q: %v, want the command in it", missing, err)
		}
		if missing == "" {
			p.warm(t)
		}
	}
}
