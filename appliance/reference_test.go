package appliance_test

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"cryptoserve/engine/algs"
)

const reference = "docs/technical-reference.md"

var updateReference = flag.Bool("update-reference", false, "write the algorithms table of the technical reference anew")

// TestDocumentedTestsExist holds the documents for auditors to the tests that they name, each as package.Test.
func TestDocumentedTestsExist(t *testing.T) {
	declared := declaredTests(t)
	documents, err := filepath.Glob("docs/adr/*.md")
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, name := range append(documents, reference, "docs/divergences.md") {
		text := readDocument(t, name)
		for _, found := range regexp.MustCompile(`[\w/]*\.?\b(?:Test|Fuzz)[A-Z0-9]\w*`).FindAllString(text, -1) {
			named++
			if !declared[found] {
				t.Errorf("%s names %s, and there is no such test; write folder.Test", name, found)
			}
		}
	}
	if named < 100 || len(declared) < 500 {
		t.Fatalf("%d tests named, %d declared: the search is broken", named, len(declared))
	}
}

// declaredTests returns the tests and fuzz targets of the module, each as folder.Test.
func declaredTests(t *testing.T) map[string]bool {
	t.Helper()
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	declared := map[string]bool{}
	err := filepath.WalkDir("..", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(name, "_test.go") {
			return err
		}
		source, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		folder := path.Clean(strings.TrimPrefix(filepath.ToSlash(filepath.Dir(name)), "../"))
		for _, m := range function.FindAllStringSubmatch(string(source), -1) {
			declared[folder+"."+m[1]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return declared
}

func readDocument(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestReferenceAlgorithms holds the table of the technical reference equal to the one that the program decides by.
func TestReferenceAlgorithms(t *testing.T) {
	const begin, end = "<!-- algorithms: begin -->\n", "<!-- algorithms: end -->"
	text := readDocument(t, reference)
	before, rest, found := strings.Cut(text, begin)
	table, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no place for the table", reference)
	}
	want := algorithmsTable()
	if *updateReference {
		if err := os.WriteFile(reference, []byte(before+begin+want+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if table != want {
		t.Errorf("the table differs from algs.Rows(); run with -update-reference if the rows are right. Want:\n%s", want)
	}
}

func algorithmsTable() string {
	var b strings.Builder
	b.WriteString("| algorithm | class | key bits | security bits | quantum-safe | approved algorithm | computed by | instead | longest message | source |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|\n")
	or := func(n uint64) string {
		if n == 0 {
			return ""
		}
		return strconv.FormatUint(n, 10)
	}
	for _, r := range algs.Rows() {
		name, quantum := string(r.Name), "no"
		if r.ReadOnly {
			name += " (read only)"
		}
		if r.QuantumSafe {
			quantum = "yes"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %d | %s | %s | %s | %s | %s | %s |\n", name, r.Class, or(uint64(r.KeyBits)), r.SecurityBits,
			quantum, r.Approval, r.Runs, r.Instead, or(r.MaxPlaintext), r.Source)
	}
	return b.String()
}

// TestDependenciesAreDocumented wants each library that a program of the module imports in the first column of the list of libraries.
func TestDependenciesAreDocumented(t *testing.T) {
	listed := map[string]bool{}
	for row := range strings.Lines(readDocument(t, "docs/dependencies.md")) {
		if cells := strings.Split(row, "|"); len(cells) > 2 {
			for _, word := range strings.FieldsFunc(cells[1], func(r rune) bool { return strings.ContainsRune(" ,()`", r) }) {
				listed[word] = true
			}
		}
	}
	seen := map[string]bool{}
	for _, p := range packages(t) {
		for _, imported := range p.Imports {
			if host, _, _ := strings.Cut(imported, "/"); host == module || !strings.Contains(host, ".") {
				continue
			}
			// The list leaves out the most usual host, and names a module or one of its packages.
			parts := strings.Split(strings.TrimPrefix(imported, "github.com/"), "/")
			n := len(parts)
			for n > 0 && !listed[strings.Join(parts[:n], "/")] {
				n--
			}
			if n < 2 {
				t.Errorf("%s imports %s, and the list of libraries does not have it", ours(p.ImportPath), imported)
			}
			seen[strings.Join(parts[:n], "/")] = true
		}
	}
	if len(seen) < 10 {
		t.Fatalf("%d libraries found: the search is broken", len(seen))
	}
}
