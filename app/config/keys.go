package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

const envPrefix = "TYK_PROX_"

// key is one value an operator can set.
type key struct {
	path        string // in the file, such as "redis.addr"
	env         string // variable that overrides it
	description string // one sentence for the documentation
	field       any    // pointer to the field that holds its value
}

// keysOf lists the keys of cfg in the order of the fields. The loader, the
// documentation and the tests all use this one walk, so that none of them can
// miss a field.
func keysOf(cfg *Config) []key { return keysIn(reflect.ValueOf(cfg).Elem(), "") }

func keysIn(section reflect.Value, path string) []key {
	var keys []key
	for i := range section.NumField() {
		field, value := section.Type().Field(i), section.Field(i)
		name := path + field.Tag.Get("json")
		if value.Kind() == reflect.Struct {
			keys = append(keys, keysIn(value, name+".")...)
			continue
		}
		keys = append(keys, key{name, envName(name), field.Tag.Get("env-description"), value.Addr().Interface()})
	}
	return keys
}

// envName returns the variable of the key at path, which the env tags agree with.
func envName(path string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "__"))
}

// text returns the value as its variable would hold it, a secret included.
func (k key) text() string {
	switch field := k.field.(type) {
	case *Secret:
		return string(*field)
	case *[]string:
		return strings.Join(*field, ",")
	default:
		return fmt.Sprint(reflect.ValueOf(field).Elem().Interface())
	}
}

func (k key) isSecret() bool { _, ok := k.field.(*Secret); return ok }

// shown prepares a text that was given for the key to be printed: a secret
// becomes its length, credentials in a URL are blanked, the rest is shortened
// and quoted.
func (k key) shown(text string) string {
	if k.isSecret() {
		return Secret(text).String()
	}
	return quoteShort(blankCredentials(text))
}

// form returns what a value of the key looks like, and whether text, the value
// of a variable, is one.
func (k key) form(text string) (want string, ok bool) {
	var err error
	switch k.field.(type) {
	case *int:
		// cleanenv would take 010 for 8 and 0x50 for 80.
		n, err := strconv.Atoi(text)
		return "a whole number", err == nil && strconv.Itoa(n) == text
	case *float64:
		want = "a number"
		_, err = strconv.ParseFloat(text, 64)
	case *bool:
		want = "true or false"
		_, err = strconv.ParseBool(text)
	case *Duration:
		want = `a duration such as "5s"`
		_, err = time.ParseDuration(text)
	case *[]string:
		want = "a list of strings"
	default:
		want = "a string"
	}
	return want, err == nil
}
