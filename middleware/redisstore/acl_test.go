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
	for _, row := range []struct {
		missing  string
		optional bool // counting
		refused  string
	}{
		{"", false, ""},
		{"+getrange", false, "getrange"},
		{"+eval +evalsha", false, "evalsha"},
		{"+eval +evalsha", true, ""},
		{"+getrange", true, "getrange"},
	} {
		server := storetest.StartRedis(t)
		admin := newAdmin(t, server.Addr)
		args := []any{"ACL", "SETUSER", "gateway", "on", ">secret", "~token:*", "~rate_count:*"}
		for permission := range strings.FieldsSeq(strings.Replace(all, row.missing, "", 1)) {
			args = append(args, permission)
		}
		if err := admin.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
		o := options(server.Addr, budget)
		o.Username, o.Password, o.ClientSideCache, o.CountOptional = "gateway", "secret", true, row.optional
		p := newPorts(t, o)
		_ = p.client.Open(t.Context())
		err := p.client.Probe(t.Context())
		if row.refused == "" && err != nil || row.refused != "" && (err == nil || !strings.Contains(err.Error(), row.refused)) {
			t.Errorf("without %q, counting optional %t: %v, want the refused command %q", row.missing, row.optional, err, row.refused)
		}
		if row.missing == "" {
			p.warm(t)
		}
	}
}
