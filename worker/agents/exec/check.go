package exec

import (
	"bufio"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// interpreters run the file that is their first argument.
var interpreters = []string{"sh", "bash", "dash", "zsh", "python", "python3", "node", "ruby", "perl", "php", "Rscript"}

// Check says why the program could not be started on this machine: a missing
// folder, program, script or interpreter, or a file that may not be executed. It
// runs nothing.
func (c Config) Check() error {
	if info, err := os.Stat(c.at("")); c.Dir != "" && (err != nil || !info.IsDir()) {
		return fmt.Errorf("its folder %s is not there; set dir", c.Dir)
	}
	path := c.Command[0]
	if strings.Contains(path, "/") {
		if err := c.executable(path); err != nil {
			return err
		}
		if err := c.shebang(path); err != nil {
			return err
		}
	} else if _, err := osexec.LookPath(path); err != nil {
		return fmt.Errorf("there is no program %s in PATH; install it, or write its path with a slash (./%s)", path, path)
	}
	if len(c.Command) > 1 && slices.Contains(interpreters, filepath.Base(path)) && !strings.HasPrefix(c.Command[1], "-") {
		if info, err := os.Stat(c.at(c.Command[1])); err != nil || info.IsDir() {
			return fmt.Errorf("there is no file %s for %s to run", c.at(c.Command[1]), path)
		}
	}
	return nil
}

// at is a path as the program sees it.
func (c Config) at(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(c.Dir, path)
}

func (c Config) executable(path string) error {
	switch info, err := os.Stat(c.at(path)); {
	case err != nil:
		return fmt.Errorf("there is no program %s", c.at(path))
	case info.IsDir():
		return fmt.Errorf("%s is a folder, not a program", c.at(path))
	case info.Mode()&0o111 == 0:
		return fmt.Errorf("%s may not be executed: chmod +x %s", c.at(path), c.at(path))
	}
	return nil
}

// shebang looks for the interpreter that a script names in its first line.
func (c Config) shebang(path string) error {
	f, err := os.Open(c.at(path))
	if err != nil {
		return nil // it may be executed without being read
	}
	defer func() { _ = f.Close() }()
	line, _ := bufio.NewReader(io.LimitReader(f, 256)).ReadString('\n')
	first, ok := strings.CutPrefix(line, "#!")
	words := strings.Fields(first)
	if !ok || len(words) == 0 {
		return nil
	}
	if strings.HasSuffix(strings.TrimSuffix(line, "\n"), "\r") {
		return fmt.Errorf("the first line of %s ends with a carriage return, and so its interpreter is not found; save it with Unix line ends", c.at(path))
	}
	if _, err := os.Stat(words[0]); err != nil {
		return fmt.Errorf("%s wants %s, which is not there", c.at(path), words[0])
	}
	if filepath.Base(words[0]) == "env" && len(words) == 2 {
		if _, err := osexec.LookPath(words[1]); err != nil {
			return fmt.Errorf("%s wants %s, which is not in PATH", c.at(path), words[1])
		}
	}
	return nil
}
