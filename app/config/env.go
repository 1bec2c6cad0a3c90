package config

import (
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/ilyakaznacheev/cleanenv"
)

// readEnv reads the variables, or warns of those that are set and not read.
//
// cleanenv assigns them to the fields by the tags. It stops at the first
// variable that does not parse, repeats its value in the error, and ignores a
// misspelt one, so the forms and the names are checked here first.
func (l *loader) readEnv() {
	var names, set []string
	for _, k := range l.keys {
		names = append(names, k.env)
		text, ok := os.LookupEnv(k.env)
		if !ok {
			continue
		}
		set = append(set, k.env)
		if want, ok := k.form(text); l.useEnv && !ok {
			l.refuse(k.path+" ("+k.env+")", k.shown(text), "cannot be read", "want "+want)
		}
	}
	if !l.useEnv {
		if len(set) > 0 {
			l.warn(strings.Join(set, ", ") + " set but not read: variables count only with -env")
		}
		return
	}
	l.checkNames(names)
	if len(l.faults) > 0 {
		return
	}
	if err := cleanenv.ReadEnv(&l.cfg); err != nil {
		l.refuse("-env", "", "cannot be read", "check the variables") // the error may show a value
	}
	// "a, b" is what people write in a comma-separated list.
	for i, network := range l.cfg.Telemetry.TrustedProxies {
		l.cfg.Telemetry.TrustedProxies[i] = strings.TrimSpace(network)
	}
}

// checkNames refuses variables of ours that set nothing, because a misspelt name
// would be a setting silently ignored. Their values are not shown, for they may
// be meant for a secret.
func (l *loader) checkNames(known []string) {
	environ := os.Environ()
	slices.Sort(environ) // so that the message is the same each time
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		switch {
		case slices.Contains(known, name) || isServiceLink(name, value):
		case strings.HasPrefix(name, "TYK_PROXY_"):
			l.warn(shownKey(name) + " set but not read: the names of the gateway's variables begin with " + envPrefix)
		case strings.HasPrefix(name, envPrefix) && !l.isObsolete(name):
			l.refuse(shownKey(name), "", "unknown variable", didYouMean(name, known))
		}
	}
}

// isServiceLink reports whether a variable is one that Kubernetes puts into
// every pod beside a service called tyk-prox, tyk-proxy or tyk-prox-something.
// A PORT is such a link only if its value is a URL, since
// TYK_PROX_APPLICATION_PORT is more likely a misspelt variable of ours.
// https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
func isServiceLink(name, value string) bool {
	link := regexp.MustCompile(`^TYK_PROXY?(_[A-Z0-9]+)*_` +
		`(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9]+)*|PORT_\d+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR))$`)
	port := regexp.MustCompile(`^TYK_PROXY?(_[A-Z0-9]+)*_PORT(_\d+_(TCP|UDP|SCTP))?$`)
	return link.MatchString(name) || port.MatchString(name) && strings.Contains(value, "://")
}
