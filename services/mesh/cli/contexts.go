package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// meshes are the meshes that the operator has named, each with its URL and key,
// and the one that commands talk to. They are kept in a file of the user's.
type meshes struct {
	Current string               `json:"current,omitempty"`
	Named   map[string]namedMesh `json:"contexts"`
}

type namedMesh struct {
	URL string `json:"url"`
	Key string `json:"key,omitempty"`
	secure
}

var contextName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// meshesFile is where they are kept.
func meshesFile() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("find the folder of settings: %w", err)
	}
	return filepath.Join(dir, "agentmesh", "contexts.json"), nil
}

// readMeshes reads the file; without one there are none.
func readMeshes() (meshes, error) {
	m := meshes{Named: map[string]namedMesh{}}
	file, err := meshesFile()
	if err != nil {
		return m, nil // a user without a home has named none
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		return m, fmt.Errorf("read contexts: %s: %w; mend or remove the file", file, err)
	}
	if m.Named == nil {
		m.Named = map[string]namedMesh{}
	}
	return m, nil
}

// save replaces the file. It holds keys: nobody else may read it.
func (m meshes) save() error {
	file, err := meshesFile()
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("keep contexts: %w", err)
	}
	next, err := os.CreateTemp(filepath.Dir(file), "contexts-*") // with 0600
	if err != nil {
		return fmt.Errorf("keep contexts: %w", err)
	}
	_, err = next.Write(append(text, '\n'))
	if err = errors.Join(err, next.Close()); err == nil {
		err = os.Rename(next.Name(), file)
	}
	if err != nil {
		_ = os.Remove(next.Name())
		return fmt.Errorf("keep contexts: %w", err)
	}
	return nil
}

// of finds a mesh by its name.
func (m meshes) of(name string) (namedMesh, error) {
	one, ok := m.Named[name]
	if !ok {
		return one, Usage("there is no context %q; there are: %s. mesh context add makes one", name, cmp.Or(strings.Join(m.names(), ", "), "none"))
	}
	return one, nil
}

func (m meshes) names() []string { return slices.Sorted(maps.Keys(m.Named)) }

// changeMeshes reads the meshes, changes them and keeps them, unless change fails.
func changeMeshes(change func(*meshes) error) error {
	all, err := readMeshes()
	if err == nil {
		err = change(&all)
	}
	if err != nil {
		return err
	}
	return all.save()
}
