// Package config fills settings structs: default < file < environment < flag.
// A setting is a struct field with the tags flag, env and help; its name in the
// file is the flag's. The package promises that a mistake is named with its
// place and what is allowed. It knows no setting itself, and apart from the
// standard OTEL_* variables nothing else in the mesh reads the environment.
package config

import (
	"encoding"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"gopkg.in/yaml.v3"
)

// DefaultFile is read when it exists and no other file is named.
const DefaultFile = "mesh.yaml"

// Secret is a setting that never shows itself.
type Secret string

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// MarshalText hides the secret from encoders and loggers.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText sets the secret.
func (s *Secret) UnmarshalText(b []byte) error { *s = Secret(b); return nil }

// setting is one field of a settings struct.
type setting struct {
	flag, env, help string
	value           reflect.Value
}

// settings lists the tagged fields of the structs that cfgs point to.
func settings(cfgs ...any) []setting {
	var all []setting
	for _, cfg := range cfgs {
		v := reflect.ValueOf(cfg).Elem()
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.Tag.Get("flag") != "" {
				all = append(all, setting{f.Tag.Get("flag"), f.Tag.Get("env"), f.Tag.Get("help"), v.Field(i)})
			}
		}
	}
	return all
}

// Set is the settings of one command: several structs under one set of flags.
// Structs that share a flag share its value.
type Set struct {
	flags  *pflag.FlagSet
	all    map[string][]setting
	others map[string]bool // settings of other commands
	file   *string
}

// Bind registers a flag for each setting of the structs that cfgs point to,
// with the present value as its default, and --config.
func Bind(flags *pflag.FlagSet, cfgs ...any) *Set {
	s := &Set{flags: flags, all: map[string][]setting{}}
	s.file = flags.String("config", "", "settings file (env MESH_CONFIG; default "+DefaultFile+" if it exists)")
	for _, one := range settings(cfgs...) {
		if s.all[one.flag] = append(s.all[one.flag], one); len(s.all[one.flag]) > 1 {
			continue
		}
		help := one.help
		if one.env != "" {
			help += " (env " + one.env + ")"
		}
		f := flags.VarPF(&fieldValue{s, one.flag}, one.flag, "", help)
		if one.value.Kind() == reflect.Bool {
			f.NoOptDefVal = "true"
		}
	}
	return s
}

// PassOver has the file's settings of other commands passed over: one file serves
// every role. cfgs point to the structs of all commands.
func (s *Set) PassOver(cfgs ...any) *Set {
	s.others = map[string]bool{}
	for _, one := range settings(cfgs...) {
		s.others[one.flag] = true
	}
	return s
}

// Load applies the file and then the environment to every setting that no flag
// has set. Call it after the flags are parsed.
func (s *Set) Load(getenv func(string) string) error {
	if err := s.loadFile(getenv); err != nil {
		return err
	}
	for name, group := range s.all {
		env := group[0].env
		if v := getenv(env); env != "" && v != "" && !s.flags.Changed(name) {
			if err := s.set(name, v); err != nil {
				return fmt.Errorf("environment variable %s: %w", env, err)
			}
		}
	}
	return nil
}

// Env applies the environment to the settings of the structs that cfgs point
// to, for a program without flags.
func Env(getenv func(string) string, cfgs ...any) error {
	for _, one := range settings(cfgs...) {
		if v := getenv(one.env); one.env != "" && v != "" {
			if err := parse(one.value, v); err != nil {
				return fmt.Errorf("environment variable %s: %w", one.env, err)
			}
		}
	}
	return nil
}

func (s *Set) loadFile(getenv func(string) string) error {
	name, must := *s.file, true
	if name == "" {
		name = getenv("MESH_CONFIG")
	}
	if name == "" {
		name, must = DefaultFile, false
	}
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) && !must {
		return nil
	}
	if err != nil {
		return fmt.Errorf("settings file: %w", err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return fmt.Errorf("settings file %s: %w", name, err)
	}
	if len(doc.Content) == 0 {
		return nil
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return fmt.Errorf("settings file %s:%d: it must be a mapping of settings, such as http: 127.0.0.1:8080", name, root.Line)
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		if _, ok := s.all[key.Value]; !ok && s.others[key.Value] {
			continue
		} else if !ok {
			return fmt.Errorf("settings file %s:%d: there is no setting %q here; there are %s", name, key.Line, key.Value, strings.Join(s.names(), ", "))
		}
		if value.Kind != yaml.ScalarNode {
			return fmt.Errorf("settings file %s:%d: %s must be a single value", name, value.Line, key.Value)
		}
		if s.flags.Changed(key.Value) {
			continue
		}
		if err := s.set(key.Value, value.Value); err != nil {
			return fmt.Errorf("settings file %s:%d: %s: %w", name, value.Line, key.Value, err)
		}
	}
	return nil
}

func (s *Set) names() []string {
	var names []string
	for name := range s.all {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (s *Set) set(name, text string) error {
	for _, one := range s.all[name] {
		if err := parse(one.value, text); err != nil {
			return err
		}
	}
	return nil
}

var durationType = reflect.TypeFor[time.Duration]()

func parse(v reflect.Value, text string) error {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch {
	case v.Type() == durationType:
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is no duration, such as 30s or 2m", text)
		}
		v.SetInt(int64(d))
	case v.Kind() == reflect.String:
		v.SetString(text)
	case v.Kind() == reflect.Bool:
		switch text {
		case "true", "1", "yes", "on":
			v.SetBool(true)
		case "false", "0", "no", "off":
			v.SetBool(false)
		default:
			return fmt.Errorf("%q is neither true nor false", text)
		}
	case v.CanInt():
		var n int64
		if _, err := fmt.Sscanf(text+" ", "%d ", &n); err != nil || fmt.Sprint(n) != text {
			return fmt.Errorf("%q is no whole number", text)
		}
		v.SetInt(n)
	case v.CanFloat():
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("%q is no number", text)
		}
		v.SetFloat(f)
	default:
		return fmt.Errorf("setting of type %s", v.Type())
	}
	return nil
}

func show(v reflect.Value) string {
	if s, ok := v.Interface().(fmt.Stringer); ok {
		return s.String()
	}
	return fmt.Sprint(v.Interface())
}

// fieldValue makes a group of settings a flag.
type fieldValue struct {
	set  *Set
	name string
}

func (f *fieldValue) String() string {
	if f.set == nil {
		return ""
	}
	return show(f.set.all[f.name][0].value)
}
func (f *fieldValue) Set(text string) error { return f.set.set(f.name, text) }
func (f *fieldValue) Type() string {
	switch v := f.set.all[f.name][0].value; {
	case v.Type() == durationType:
		return "duration"
	case v.CanInt():
		return "int"
	case v.CanFloat():
		return "float"
	case v.Kind() == reflect.Bool:
		return "bool"
	}
	return "string"
}

// Markdown is the table of settings with their defaults, for the manual.
func Markdown(cfgs ...any) string {
	var b strings.Builder
	b.WriteString("| flag | env | default | what |\n|---|---|---|---|\n")
	seen := map[string]bool{}
	for _, s := range settings(cfgs...) {
		if seen[s.flag] {
			continue
		}
		seen[s.flag] = true
		value := show(s.value)
		if value != "" {
			value = "`" + value + "`"
		}
		fmt.Fprintf(&b, "| `--%s` | `%s` | %s | %s |\n", s.flag, s.env, value, s.help)
	}
	return b.String()
}
