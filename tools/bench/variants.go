package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The names of the variants, as the report and -only have them.
const (
	nameBase     = "base"
	nameOff      = "off"
	nameOne      = "1%"
	nameAll      = "100%"
	nameDefaults = "defaults"
	nameLimited  = "429"
	nameLua      = "nginx-lua"
	nameNginx    = "nginx"
	nameHAProxy  = "haproxy"
)

// A variant is one server that the rounds drive.
type variant struct {
	name     string
	about    string
	settings settings // of a gateway
	limited  bool     // every request is over its limit
	start    func(*lab) (*server, error)
	server   *server
	tokens   tokenSet
}

// settings are members of config.json, by their dotted path.
type settings map[string]any

// allVariants returns the variants in the order of the report. The first is the
// one that the others are compared with.
func allVariants() []*variant {
	return []*variant{
		{name: nameBase, about: "bare httputil.ReverseProxy", start: (*lab).startBase},
		{name: nameOff, about: "gateway, tracing off", settings: settings{"log.level": "Info"}},
		{name: nameOne, about: "gateway, 1 % sampled, refusals kept", settings: onePercent()},
		{name: nameAll, about: "gateway, 100 % sampled", settings: settings{
			"log.level": "Info", "telemetry.traces.endpoint": "", "telemetry.traces.sample_ratio": 1,
		}},
		{name: nameDefaults, about: "gateway, config.json as shipped (Debug log), 100 % sampled", settings: settings{
			"telemetry.traces.endpoint": "",
		}},
		{name: nameLimited, about: "gateway, 1 %, every request over its limit", settings: onePercent(), limited: true},
		{name: nameLua, about: "nginx + Lua, the same job, two Redis trips", start: (*lab).startLua},
		{name: nameNginx, about: "nginx, plain proxy", start: (*lab).startPlainNginx},
		{name: nameHAProxy, about: "HAProxy, plain proxy", start: (*lab).startHAProxy},
	}
}

func onePercent() settings {
	return settings{
		"log.level": "Info", "telemetry.traces.endpoint": "",
		"telemetry.traces.sample_ratio": 0.01, "telemetry.traces.keep_per_second": 50,
	}
}

func variantNames() []string {
	all := allVariants()
	names := make([]string, 0, len(all))
	for _, v := range all {
		names = append(names, v.name)
	}
	return names
}

// chosen returns the variants that -only names, and always BASE.
func chosen(only string) ([]*variant, error) {
	all := allVariants()
	if only == "" {
		return all, nil
	}
	wanted := strings.Split(only, ",")
	for _, name := range wanted {
		if !slices.Contains(variantNames(), name) {
			return nil, fmt.Errorf("no variant is called %q: %s", name, strings.Join(variantNames(), ", "))
		}
	}
	return slices.DeleteFunc(all, func(v *variant) bool {
		return v.name != nameBase && !slices.Contains(wanted, v.name)
	}), nil
}

// startVariants starts the variants. A program that is not installed leaves its
// variant out, and a note says so.
func (l *lab) startVariants(only string) (started []*variant, notes []string, err error) {
	variants, err := chosen(only)
	if err != nil {
		return nil, nil, err
	}
	notes = append(notes, "The backend is "+l.backendIs+"; wrk, vegeta, the sink of the traces, Redis and the backend share the machine.")
	for _, v := range variants {
		v.tokens = l.tokens.usual
		if v.limited {
			if v.tokens, err = l.tokens.mint(l.ctx, 1, 1, twoRoutes()); err != nil {
				return nil, nil, err
			}
		}
		if v.start == nil {
			v.start = func(l *lab) (*server, error) { return l.startGateway(v.settings) }
		}
		v.server, err = v.start(l)
		switch {
		case isMissing(err):
			notes = append(notes, fmt.Sprintf("%s is left out: %v.", v.name, err))
		case err != nil:
			return nil, nil, fmt.Errorf("%s: %w", v.name, err)
		default:
			started = append(started, v)
			if err := l.preflight(v); err != nil {
				return nil, nil, fmt.Errorf("%s: %w", v.name, err)
			}
		}
	}
	return started, notes, nil
}

func (l *lab) startBase() (*server, error) { return l.startSelf("base", "http://"+l.backend.addr) }

// startGateway starts a gateway with the repository's config.json, in which the
// settings, its addresses and its secret are replaced.
func (l *lab) startGateway(set settings) (*server, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	monitoring, err := freeAddr()
	if err != nil {
		return nil, err
	}
	all := settings{
		"application.target_host": "http://" + l.backend.addr, "application.port": portOf(addr),
		"application.token.jwt_secret": l.tokens.secret, "redis.addr": l.redis.addr,
		"server_timeouts.drainDelay": "0s",
		"monitoring.ip":              "127.0.0.1", "monitoring.port": portOf(monitoring),
	}
	for path, value := range set {
		if path == "telemetry.traces.endpoint" {
			value = l.sink.endpoint
		}
		all[path] = value
	}
	text, err := os.ReadFile(filepath.Join(l.repo, "config.json"))
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	if text, err = configure(text, all); err != nil {
		return nil, err
	}
	file := filepath.Join(l.dir, fmt.Sprintf("config-%d.json", portOf(addr)))
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, fmt.Errorf("writing a configuration: %w", err)
	}
	s, err := l.start(addr, l.gateway, "-config", file)
	if err != nil {
		return nil, err
	}
	s.metrics = "http://" + monitoring + "/metrics"
	return s, nil
}

func portOf(addr string) int {
	_, text, _ := net.SplitHostPort(addr) // it comes from a listener
	port, _ := strconv.Atoi(text)
	return port
}

// configure replaces members of a configuration. A member must be there, since
// the gateway refuses a configuration with one that it does not know.
func configure(text []byte, set settings) ([]byte, error) {
	var config map[string]any
	if err := json.Unmarshal(text, &config); err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	for path, value := range set {
		section := config
		parts := strings.Split(path, ".")
		for _, part := range parts[:len(parts)-1] {
			section, _ = section[part].(map[string]any)
		}
		last := parts[len(parts)-1]
		if _, there := section[last]; !there {
			return nil, fmt.Errorf("the configuration has no %s", path)
		}
		section[last] = value
	}
	return json.MarshalIndent(config, "", "  ")
}
