package appliance

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestInvariantsAreDocumented keeps docs/invariants.md and the tests named after invariants equal.
func TestInvariantsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("docs/invariants.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := regexp.MustCompile("`(TestInvariant[0-9]{2}[A-Z]\\w*)`").FindAllStringSubmatch(string(doc), -1)
	var inDoc, inCode []string
	for _, m := range documented {
		inDoc = append(inDoc, m[1])
	}
	declared := regexp.MustCompile(`(?m)^func (TestInvariant[0-9]{2}\w*)\(`)
	err = filepath.WalkDir("..", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range declared.FindAllStringSubmatch(string(source), -1) {
			inCode = append(inCode, m[1])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(inCode) < 20 {
		t.Fatalf("found %d tests of invariants", len(inCode))
	}
	for _, name := range inCode {
		if !slices.Contains(inDoc, name) {
			t.Errorf("%s is not in docs/invariants.md", name)
		}
	}
	for _, name := range inDoc {
		if !slices.Contains(inCode, name) {
			t.Errorf("docs/invariants.md names %s, which does not exist", name)
		}
	}
	for i := 1; i <= 10; i++ {
		number := string([]byte{'0' + byte(i/10), '0' + byte(i%10)})
		if !slices.ContainsFunc(inCode, func(n string) bool { return strings.Contains(n, "Invariant"+number) }) {
			t.Errorf("invariant %d has no test", i)
		}
	}
}
