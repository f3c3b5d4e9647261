package main

import (
	"strings"
	"testing"
)

func TestAccountIsPrintedAndChecked(t *testing.T) {
	const good = `=== RUN   TestVectors
    account.go:1: VECTORS {"algorithm":"B","source":"s","cases":3,"passed":2,"accepted":1,"left_out":{"another curve":1}}
    account.go:1: VECTORS {"algorithm":"A","source":"s","cases":1,"passed":1,"accepted":1}
ok  	p	1s
`
	tests := []struct {
		name, in, want, fails string
	}{
		{"in order, with reasons", good, "A          s       1      1       1      0        \nB          s       3      2       1      1        1 another curve", ""},
		{"a failed test", good + "--- FAIL: TestX (0.00s)\n", "", "TestX"},
		{"a case that is not accounted for", strings.ReplaceAll(good, `"cases":3`, `"cases":4`), "", "not every case passed"},
		{"nothing", "ok  \tp\t1s\n", "", "no test reported"},
		{"damaged", "VECTORS {", "", "a report"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			err := run(strings.NewReader(tt.in), &out)
			switch {
			case tt.fails == "" && err != nil:
				t.Fatal(err)
			case tt.fails != "" && (err == nil || !strings.Contains(err.Error(), tt.fails)):
				t.Fatalf("error %v, want %q", err, tt.fails)
			case !strings.Contains(out.String(), tt.want):
				t.Errorf("printed:\n%s\nwant:\n%s", out.String(), tt.want)
			}
		})
	}
}
