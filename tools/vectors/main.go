// Command vectors prints the account of the test vectors: it reads the output of `go test -v` and writes a line for each
// algorithm and source. `make vectors` runs it.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// mark begins what a test reports; package engine/vectortest writes it.
const mark = "VECTORS "

// line is the account of one algorithm and source.
type line struct {
	Algorithm string         `json:"algorithm"`
	Source    string         `json:"source"`
	Cases     int            `json:"cases"`
	Passed    int            `json:"passed"`
	Accepted  int            `json:"accepted"`
	LeftOut   map[string]int `json:"left_out"`
}

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "vectors:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	lines, failed, err := read(in)
	if err != nil {
		return err
	}
	slices.SortFunc(lines, func(a, b line) int {
		return cmp.Or(cmp.Compare(a.Algorithm, b.Algorithm), cmp.Compare(a.Source, b.Source))
	})
	if err := write(out, lines); err != nil {
		return err
	}
	if len(failed) > 0 {
		return fmt.Errorf("the tests did not pass:\n%s", strings.Join(failed, "\n"))
	}
	if len(lines) == 0 {
		return errors.New("no test reported any vectors")
	}
	for _, l := range lines {
		left := 0
		for _, n := range l.LeftOut {
			left += n
		}
		if l.Passed+left != l.Cases || l.Passed == 0 {
			return fmt.Errorf("%s from %s: not every case passed", l.Algorithm, l.Source)
		}
	}
	return nil
}

// read returns the accounts in the output of go test, and its lines that tell of a failure.
func read(in io.Reader) (lines []line, failed []string, err error) {
	s := bufio.NewScanner(in)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		text := s.Text()
		if _, report, ok := strings.Cut(text, mark); ok {
			var l line
			if err := json.Unmarshal([]byte(report), &l); err != nil {
				return nil, nil, fmt.Errorf("a report of the tests: %w", err)
			}
			lines = append(lines, l)
		}
		if strings.HasPrefix(text, "FAIL") || strings.Contains(text, "--- FAIL") {
			failed = append(failed, text)
		}
	}
	return lines, failed, s.Err()
}

func write(out io.Writer, lines []line) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "ALGORITHM\tSOURCE\tCASES\tPASSED\tVALID\tREFUSED\tLEFT OUT")
	total := line{}
	for _, l := range lines {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%s\n", l.Algorithm, l.Source, l.Cases, l.Passed, l.Accepted, l.Passed-l.Accepted, reasons(l.LeftOut))
		total.Cases += l.Cases
		total.Passed += l.Passed
		total.Accepted += l.Accepted
	}
	_, _ = fmt.Fprintf(w, "total\t\t%d\t%d\t%d\t%d\t\n", total.Cases, total.Passed, total.Accepted, total.Passed-total.Accepted)
	return w.Flush()
}

func reasons(leftOut map[string]int) string {
	var list []string
	for reason, n := range leftOut {
		list = append(list, fmt.Sprintf("%d %s", n, reason))
	}
	slices.Sort(list)
	return strings.Join(list, "; ")
}
