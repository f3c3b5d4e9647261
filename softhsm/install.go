package softhsm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// manager is a package manager: the commands that install SoftHSM2, in order.
type manager struct {
	program  string
	root     bool // whether it must run as root
	commands [][]string
}

var managers = []manager{
	{"apt-get", true, [][]string{
		{"apt-get", "-q", "update"},
		{"apt-get", "-q", "install", "-y", "--no-install-recommends", "softhsm2"},
	}},
	{"dnf", true, [][]string{{"dnf", "-q", "-y", "install", "softhsm"}}},
	{"brew", false, [][]string{{"brew", "install", "softhsm"}}},
}

// Install installs SoftHSM2 with apt-get, dnf or brew unless Library finds it already. Output of the package manager
// goes to w. Without root it uses sudo, which must not ask for a password: nothing here waits for a person.
func Install(ctx context.Context, w io.Writer) error {
	return install(ctx, w, Library, exec.LookPath, os.Geteuid(), run)
}

func install(ctx context.Context, w io.Writer, find func() (string, error), look func(string) (string, error),
	uid int, run func(context.Context, io.Writer, []string) error) error {
	path, err := find()
	if err == nil {
		_, err = fmt.Fprintf(w, "SoftHSM2 is installed: %s\n", path)
		return err
	}
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	m, err := choose(look)
	if err != nil {
		return err
	}
	for _, command := range m.commands {
		if m.root && uid != 0 {
			command = append([]string{"sudo", "-n"}, command...)
		}
		if err := run(ctx, w, command); err != nil {
			if m.root && uid != 0 {
				return fmt.Errorf("install SoftHSM2: %v: %w; install the package by hand as root, then try again", command, err)
			}
			return fmt.Errorf("install SoftHSM2: %v: %w", command, err)
		}
	}
	if path, err = find(); err != nil {
		return fmt.Errorf("SoftHSM2 was installed but its module is in no known place: set %s: %w", LibraryEnv, err)
	}
	_, err = fmt.Fprintf(w, "SoftHSM2 is installed: %s\n", path)
	return err
}

func choose(look func(string) (string, error)) (manager, error) {
	for _, m := range managers {
		if _, err := look(m.program); err == nil {
			return m, nil
		}
	}
	return manager{}, fmt.Errorf("install SoftHSM2: none of apt-get, dnf and brew is here; install it by hand, and set %s if"+
		" it is in an unusual place", LibraryEnv)
}

func run(ctx context.Context, w io.Writer, command []string) error {
	c := exec.CommandContext(ctx, command[0], command[1:]...) // #nosec G204 -- rows of the table above
	c.Stdout, c.Stderr = w, w
	c.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	return c.Run()
}
