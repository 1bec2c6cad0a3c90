// Package config reads the configuration of the gateway from a JSON file and
// the environment. It is the only package that reads either.
//
// A configuration is checked in two phases. The first one is about structure:
// an unreadable file, unknown and duplicate keys, wrong types. The second one
// judges the values, and the files that they name, and runs only if the first
// one found nothing. Each phase reports all its faults in one Error.
package config

import "strings"

// Load returns the defaults, overridden by the JSON file at path unless path is
// empty, overridden by the environment if useEnv. It returns warnings for the
// caller to log, and on failure an *Error with every fault of one phase.
func Load(path string, useEnv bool) (Config, []string, error) { return load(path, useEnv, true) }

// LoadValues is Load without a look at this machine, its files and its
// addresses, for those who talk to a running gateway, perhaps on another machine:
// a key that is just being replaced on disk does not make it unhealthy.
func LoadValues(path string, useEnv bool) (Config, error) {
	cfg, _, err := load(path, useEnv, false)
	return cfg, err
}

func load(path string, useEnv, files bool) (Config, []string, error) {
	l := newLoader(useEnv)
	if path != "" {
		data, err := readBounded(path)
		if p := badFile(err, "name a readable JSON file"); err != nil {
			l.refuse(fileKey, quoteShort(path), p.what, p.fix)
		} else {
			l.readJSON(data)
		}
	}
	l.readEnv()
	return l.judge(files)
}

// loader gathers the values and the faults of one configuration.
type loader struct {
	cfg      Config
	keys     []key // of cfg
	useEnv   bool
	faults   []string
	warnings []string
}

func newLoader(useEnv bool) *loader {
	l := &loader{cfg: Default(), useEnv: useEnv}
	l.keys = keysOf(&l.cfg)
	return l
}

// judge runs the second phase unless the first one found a fault.
func (l *loader) judge(files bool) (Config, []string, error) {
	if len(l.faults) == 0 {
		l.trimSecrets()
		l.judgeValues()
		if files {
			l.judgeFiles()
			l.judgeOwnAddress()
		}
	}
	if len(l.faults) > 0 {
		return Config{}, nil, &Error{Faults: l.faults}
	}
	token := l.cfg.Application.Token
	if strings.HasPrefix(token.Algorithm, "HS") && token.JWTSecret == DemoSecret {
		l.warn("application.token.jwt_secret is the public demo secret: anyone can mint tokens; set your own")
	}
	return l.cfg, l.warnings, nil
}

// trimSecrets drops the line end that files and `kubectl create secret` leave at
// the end of a secret. A secret of nothing but white space stays as it is, to be
// refused.
func (l *loader) trimSecrets() {
	for _, k := range l.keys {
		secret, ok := k.field.(*Secret)
		if !ok || isBlank(*secret) {
			continue
		}
		if trimmed := Secret(strings.TrimRight(string(*secret), "\r\n")); trimmed != *secret {
			*secret = trimmed
			l.warn(k.path + " ends with a line end, which is not taken for a part of it: remove it")
		}
	}
}

func (l *loader) warn(text string) { l.warnings = append(l.warnings, text) }

// isObsolete warns of a key that had a meaning in a former version, or of its
// variable, instead of refusing the start.
func (l *loader) isObsolete(name string) bool {
	for _, path := range []string{"redis.pool_size", "redis.pool_timeout"} {
		if name == path || name == envName(path) {
			l.warn(name + " no longer has an effect, since all commands to Redis share one connection: remove it")
			return true
		}
	}
	return false
}
