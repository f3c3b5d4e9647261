package appliance

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/selftest"
)

// TestFIPSNeedsAFrozenModule: the test program has the module of the toolchain's source, in its FIPS mode or not.
func TestFIPSNeedsAFrozenModule(t *testing.T) {
	const variable = "CRYPTOSERVE_TEST_FIPS"
	if os.Getenv(variable) != "" {
		t.Log(checkFIPS(algs.Enabled))
		return
	}
	for _, mode := range []algs.Mode{algs.Disabled, algs.Preferred} {
		if err := checkFIPS(mode); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
	}
	for debug, want := range map[string]string{"fips140=off": "not in its FIPS mode", "fips140=on": "without a frozen"} {
		cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), variable+"=1", "GODEBUG="+debug)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v\n%s", debug, err, out)
		}
	}
}

// TestSelfTestComesFirst: an algorithm that computes wrongly ends the start before the token, or anything in the directory but its
// lock, is touched.
func TestSelfTestComesFirst(t *testing.T) {
	wrong := errors.New("AES-256-GCM: the answer differs")
	knownAnswers = func() error { return wrong }
	defer func() { knownAnswers = selftest.Run }()
	dir := filepath.Join(t.TempDir(), "node")
	config := Default()
	config.DataDir, config.HSM.PINFile = dir, filepath.Join(dir, "none")
	starts := map[string]func() error{
		"dev": func() error {
			return Dev(t.Context(), DevConfig{Dir: dir, Listen: "127.0.0.1:0"}, io.Discard, slog.New(slog.DiscardHandler))
		},
		"serve": func() error { return Serve(t.Context(), config, io.Discard, slog.New(slog.DiscardHandler)) },
	}
	for name, start := range starts {
		if err := start(); !errors.Is(err, wrong) || !strings.Contains(err.Error(), "must not serve") {
			t.Errorf("%s: %v", name, err)
		}
		left, err := os.ReadDir(dir)
		if err != nil || len(left) > 1 {
			t.Errorf("%s left %v, %v", name, left, err)
		}
	}
}

func TestFIPSMode(t *testing.T) {
	for name, c := range map[string]struct {
		file, variable string
		want           algs.Mode
		fails          string
	}{
		"neither":          {"", "", algs.Disabled, ""},
		"the file":         {"enabled", "", algs.Enabled, ""},
		"the variable":     {"", "preferred", algs.Preferred, ""},
		"both, alike":      {"preferred", "preferred", algs.Preferred, ""},
		"both, differing":  {"enabled", "disabled", algs.Enabled, "make them agree"},
		"unknown":          {"on", "", algs.Enabled, "none of"},
		"unknown variable": {"", "on", algs.Enabled, "FIPS_MODE"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(fipsVariable, c.variable)
			got, err := (&FIPSConfig{Mode: c.file}).mode()
			if got != c.want || (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) {
				t.Errorf("%s, %v", got, err)
			}
		})
	}
}
