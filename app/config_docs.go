package app

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Leaf is one value an operator can set.
type Leaf struct {
	Path        string // JSON path, such as "redis.addr"
	Env         string // variable that overrides it
	Default     string // default in the notation of the variable
	Description string // one sentence for the documentation
	Secret      bool   // whether its value must never be printed

	index []int // where reflect finds it inside a Config
	typ   reflect.Type
}

// ConfigLeaves lists every leaf of Config in the order of its fields. The
// loader, the documentation and the tests all use this one walk, so a field that
// is added to Config cannot be known to one of them and missing from another.
func ConfigLeaves() []Leaf {
	return walkSection(reflect.ValueOf(DefaultConfig()), nil, "", "")
}

func walkSection(section reflect.Value, index []int, path, prefix string) []Leaf {
	var leaves []Leaf
	for i := range section.NumField() {
		field := section.Type().Field(i)
		at := append(slices.Clone(index), i)
		name := path + field.Tag.Get("json")
		if field.Type.Kind() == reflect.Struct {
			nested := walkSection(section.Field(i), at, name+".", prefix+field.Tag.Get("env-prefix"))
			leaves = append(leaves, nested...)
			continue
		}
		leaves = append(leaves, Leaf{
			Path:        name,
			Env:         prefix + field.Tag.Get("env"),
			Default:     plainText(section.Field(i)),
			Description: field.Tag.Get("env-description"),
			Secret:      field.Tag.Get("secret") == "true",
			index:       at,
			typ:         field.Type,
		})
	}
	return leaves
}

// in returns the settable field of the leaf inside cfg.
func (l Leaf) in(cfg *Config) reflect.Value {
	return reflect.ValueOf(cfg).Elem().FieldByIndex(l.index)
}

// isText tells whether an empty variable is a value: an empty string, or a list
// without elements.
func (l Leaf) isText() bool {
	return l.typ.Kind() == reflect.String || l.typ.Kind() == reflect.Slice
}

// wants says what a value of the leaf's type looks like.
func (l Leaf) wants() string {
	switch {
	case l.typ == reflect.TypeFor[Duration]():
		return `a duration such as "5s"`
	case l.typ.Kind() == reflect.Int:
		return "a whole number"
	case l.typ.Kind() == reflect.Float64:
		return "a number"
	case l.typ.Kind() == reflect.Bool:
		return "true or false"
	case l.typ.Kind() == reflect.Slice:
		return "a list of strings"
	default:
		return "a string"
	}
}

// plainText writes a value the way its variable would hold it. For a secret that
// is the secret itself: the callers decide what may be shown.
func plainText(value reflect.Value) string {
	if m, ok := value.Interface().(encoding.TextMarshaler); ok {
		text, err := m.MarshalText()
		if err == nil {
			return string(text)
		}
	}
	// By kind, because a Secret formats as its length.
	if value.Kind() == reflect.String {
		return value.String()
	}
	if list, ok := value.Interface().([]string); ok {
		return strings.Join(list, ",")
	}
	return fmt.Sprint(value.Interface())
}
