package app

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/ilyakaznacheev/cleanenv"
)

const (
	// maxConfigBytes keeps a wrong -config (a log, a device) from filling memory.
	maxConfigBytes = 1 << 20
	envPrefix      = "TYK_PROX_"
	// fileKey stands in for a JSON path in a fault of the file as a whole.
	fileKey = "-config"
)

// LoadConfig returns the defaults, overridden by the JSON file at path unless
// path is empty, overridden by the environment if useEnv. It returns warnings for
// the caller to log, and on failure a *ConfigError with every fault found, those
// of the files that the configuration names included.
func LoadConfig(path string, useEnv bool) (Config, []string, error) {
	l := load(path, useEnv)
	l.validateFiles()
	return l.finish()
}

// loadValues is LoadConfig without a look at the files that the configuration
// names: it is for those who ask a gateway that runs, and has read them. A key
// that is just being replaced on disk is no reason to call it unhealthy.
func loadValues(path string, useEnv bool) (Config, error) {
	cfg, _, err := load(path, useEnv).finish()
	return cfg, err
}

func load(path string, useEnv bool) *loader {
	l := newLoader()
	if path != "" {
		if data, ok := l.readFile(path); ok {
			l.readJSON(data)
		}
	}
	if useEnv {
		l.readEnv()
	} else {
		l.ignored = l.setInEnv()
	}
	l.validate()
	return l
}

// loader gathers the values and the faults of one configuration.
type loader struct {
	cfg      Config
	leaves   []Leaf
	known    []string        // paths of all leaves and sections
	byPath   map[string]Leaf // the leaves again
	faults   []Fault
	broken   map[string]bool // paths whose value could not be read
	inFile   map[string]bool // paths of the leaves that the file names
	suspects []string        // paths that a fault of the file may have been meant for
	fromEnv  map[string]bool // paths whose value came from the environment
	ignored  []string        // variables that are set and not read
	obsolete []string        // keys and variables of former versions
	// fileLost is set when nothing of the file could be used. What it would have
	// said is unknown then, and judging the defaults in its place would accuse the
	// operator of things the file may well set right.
	fileLost bool
}

func newLoader() *loader {
	l := &loader{
		cfg:     DefaultConfig(),
		leaves:  ConfigLeaves(),
		byPath:  map[string]Leaf{},
		broken:  map[string]bool{},
		inFile:  map[string]bool{},
		fromEnv: map[string]bool{},
	}
	for _, leaf := range l.leaves {
		l.byPath[leaf.Path] = leaf
		l.known = append(l.known, leaf.Path)
		for i, r := range leaf.Path {
			if section := leaf.Path[:i]; r == '.' && !slices.Contains(l.known, section) {
				l.known = append(l.known, section)
			}
		}
	}
	return l
}

func (l *loader) finish() (Config, []string, error) {
	if len(l.faults) > 0 {
		return Config{}, nil, &ConfigError{Faults: l.faults}
	}
	return l.cfg, l.warnings(), nil
}

func (l *loader) warnings() []string {
	var warnings []string
	token := l.cfg.Application.Token
	if strings.HasPrefix(token.Algorithm, "HS") && token.JWTSecret == DemoSecret {
		warnings = append(warnings,
			"application.token.jwt_secret is the public demo secret: anyone can mint tokens; set your own")
	}
	if len(l.ignored) > 0 {
		warnings = append(warnings, strings.Join(l.ignored, ", ")+" set but not read: variables count only with -env")
	}
	if len(l.obsolete) > 0 {
		warnings = append(warnings, strings.Join(l.obsolete, ", ")+
			" no longer has an effect, since all commands to Redis share one connection: remove it")
	}
	return warnings
}

// isObsolete reports whether a key had a meaning in a former version. It is no
// reason to refuse the start.
func isObsolete(path string) bool { return path == "redis.pool_size" || path == "redis.pool_timeout" }

// obsoleteEnv reports whether a variable stands for such a key.
func obsoleteEnv(name string) bool {
	path, ok := strings.CutPrefix(name, envPrefix+"REDIS__")
	return ok && isObsolete("redis."+strings.ToLower(path))
}

// setInEnv returns which of our variables the environment has.
func (l *loader) setInEnv() []string {
	var names []string
	for _, leaf := range l.leaves {
		if _, ok := os.LookupEnv(leaf.Env); ok {
			names = append(names, leaf.Env)
		}
	}
	return names
}

// readFile returns the content of the file, or reports why there is none.
func (l *loader) readFile(path string) ([]byte, bool) {
	data, err := readBounded(path)
	var pathErr *fs.PathError
	switch {
	case errors.As(err, &pathErr):
		l.loseFile(quoteShort(path), "cannot be read: "+pathErr.Err.Error(), "name a readable JSON file")
	case err != nil:
		l.loseFile(quoteShort(path), "cannot be read: "+err.Error(), "name a readable JSON file")
	case len(data) > maxConfigBytes:
		l.loseFile(quoteShort(path), "is larger than 1 MiB", "name a configuration file")
	default:
		return data, true
	}
	return nil, false
}

func readBounded(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	// Nothing was written, so closing cannot lose anything.
	defer func() { _ = file.Close() }()
	return io.ReadAll(io.LimitReader(file, maxConfigBytes+1))
}

// loseFile reports a fault that leaves nothing of the file to use.
func (l *loader) loseFile(value, problem, fix string) {
	l.fileLost = true
	l.faults = append(l.faults, Fault{Key: fileKey, Value: value, Problem: problem, Fix: fix})
}

// readEnv applies the variables one leaf at a time: cleanenv stops at the first
// bad variable it meets, so each leaf gets a run of its own.
func (l *loader) readEnv() {
	names := make([]string, 0, len(l.leaves))
	for _, leaf := range l.leaves {
		names = append(names, leaf.Env)
		raw, set := os.LookupEnv(leaf.Env)
		if !set {
			continue
		}
		l.fromEnv[leaf.Path] = true
		value, err := leaf.parseEnv(raw)
		if err != nil {
			l.broken[leaf.Path] = true
			l.faults = append(l.faults, Fault{
				Key: leaf.Path, Env: leaf.Env, Value: shown(raw, leaf.Secret),
				Problem: err.Error(), Fix: "want " + leaf.wants(),
			})
			continue
		}
		leaf.in(&l.cfg).Set(value)
		delete(l.broken, leaf.Path) // whatever the file says there, this is what holds
	}
	l.refuseUnknownEnv(names)
}

var (
	errEnvEmpty = errors.New("is set but empty")
	errEnvForm  = errors.New("cannot be read")
)

// parseEnv lets cleanenv read the leaf's variable into a struct made for it
// alone. The errors are our own: cleanenv's repeat the value.
func (l Leaf) parseEnv(raw string) (reflect.Value, error) {
	if raw == "" && !l.isText() {
		return reflect.Value{}, errEnvEmpty
	}
	// cleanenv would take 010 for 8 and 0x50 for 80.
	if l.typ.Kind() == reflect.Int {
		if n, err := strconv.Atoi(raw); err != nil || strconv.Itoa(n) != raw {
			return reflect.Value{}, errEnvForm
		}
	}
	only := reflect.New(reflect.StructOf([]reflect.StructField{{
		Name: "Leaf",
		Type: l.typ,
		Tag:  reflect.StructTag(fmt.Sprintf(`env:%q`, l.Env)),
	}}))
	if err := cleanenv.ReadEnv(only.Interface()); err != nil {
		return reflect.Value{}, errEnvForm
	}
	value := only.Elem().Field(0)
	// "a, b" is what people write in a comma-separated list.
	if list, ok := value.Interface().([]string); ok {
		for i := range list {
			list[i] = strings.TrimSpace(list[i])
		}
	}
	return value, nil
}

// refuseUnknownEnv reports variables of ours that set nothing: a misspelt name
// would otherwise be a setting silently ignored. Their values are not shown, for
// they may be meant for a secret.
func (l *loader) refuseUnknownEnv(known []string) {
	environ := os.Environ()
	slices.Sort(environ) // so that the message is the same each time
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, envPrefix) || slices.Contains(known, name) {
			continue
		}
		if obsoleteEnv(name) {
			l.obsolete = append(l.obsolete, name)
			continue
		}
		l.faults = append(l.faults, Fault{
			Env: shownKey(name), Problem: "unknown variable", Fix: didYouMean(nearest(name, known)),
		})
	}
}
