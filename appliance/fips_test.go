package appliance

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"cryptoserve/engine/algs"
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
