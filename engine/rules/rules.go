package rules

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/interpreter"

	"cryptoserve/engine/fault"
)

// Rule is a compiled rule. It is immutable, and goroutines may share it.
type Rule struct {
	program cel.Program
	dynamic bool
}

// Compile reads a rule. It returns fault.Malformed with the place and what is wrong there for a text that is empty or longer
// than MaxBytes, does not parse, names what rules do not have, has operands of wrong types, is not a bool as a whole, or passes
// one of the bounds of the package comment. The detail repeats names of the text, and no value of any input.
func Compile(text string) (*Rule, error) {
	return contained(func() (*Rule, error) { return compile(text) })
}

// contained refuses a rule on which the library panics. Every node of a cluster compiles the rules that it is given, so that a
// panic would stop them all, again at each start.
func contained(compile func() (*Rule, error)) (r *Rule, err error) {
	defer func() {
		if v := recover(); v != nil {
			r, err = nil, fault.Wrap(fault.Malformed, "rules.compile", "the rule cannot be compiled", fmt.Errorf("panic: %v", v))
		}
	}()
	return compile()
}

func compile(text string) (*Rule, error) {
	switch {
	case strings.TrimSpace(text) == "":
		return nil, refused("the rule is empty")
	case len(text) > MaxBytes:
		return nil, refused(fmt.Sprintf("a rule has at most %d bytes", MaxBytes))
	case !utf8.ValidString(text):
		return nil, refused("a rule is text in UTF-8")
	}
	e, err := language()
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "rules.compile", "", err)
	}
	parsed, issues := e.Parse(text)
	if issues.Err() != nil {
		return nil, refusedBy(issues, nil)
	}
	if err := checkShape(parsed.NativeRep()); err != nil {
		return nil, err
	}
	checked, issues := e.Check(parsed)
	if issues.Err() != nil {
		return nil, refusedBy(issues, parsed.NativeRep())
	}
	if err := checkTypes(checked.NativeRep()); err != nil {
		return nil, err
	}
	if t := checked.OutputType(); t.Kind() != types.BoolKind {
		return nil, refused("a rule must be true or false, and this one is of type " + plain(cel.FormatCELType(t)))
	}
	cost, err := e.EstimateCost(checked, estimator{})
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "rules.compile", "", err)
	}
	if cost.Max > CostLimit {
		return nil, refused(fmt.Sprintf(
			"the rule may cost more than %d units: shorten its loops and the texts it puts together", CostLimit))
	}
	p, err := program(e, checked)
	if err != nil {
		// Planning computes constants: what fails here would fail each time.
		return nil, fault.Wrap(fault.Malformed, "rules.compile", "a constant of the rule cannot be computed", err)
	}
	return &Rule{program: p, dynamic: readsMoment(checked.NativeRep())}, nil
}

// Dynamic reports whether the rule reads data.size or now. The answer of one that does not is the same for each operation with
// this algorithm, context, identity, operation and class, so that the caller may keep it.
func (r *Rule) Dynamic() bool { return r.dynamic }

// Eval reports whether the rule lets an operation pass. It returns fault.Forbidden when it has no answer: a division by zero, a
// number out of range, a key or an index that is not there, a text that is no number, or more than CostLimit. The detail tells
// which of them, and no value. The caller takes an error as a violation.
func (r *Rule) Eval(in *Input) (bool, error) {
	out, _, err := r.program.Eval((*activation)(in))
	if err != nil {
		return false, fault.Wrap(fault.Forbidden, "rules.eval", "the rule has no answer: "+failure(err), err)
	}
	pass, ok := out.(types.Bool)
	if !ok {
		return false, fault.New(fault.Internal, "rules.eval", "the rule has no answer")
	}
	return bool(pass), nil
}

// failures are parts of CEL's messages, which quote values, and what is told of them.
var failures = []struct{ part, detail string }{
	{"division by zero", "division by zero"},
	{"modulus by zero", "division by zero"},
	{"overflow", "a number out of range"},
	{"range error", "a number out of range"},
	{"no such key", "a map has no such key"},
	{"index", "a list has no such index"},
	{"conversion", "a text cannot be converted"},
	{"parsing", "a text cannot be converted"},
	{"invalid", "a text cannot be converted"},
}

func failure(err error) string {
	var cancelled interpreter.EvalCancelledError
	if errors.As(err, &cancelled) && cancelled.Cause == interpreter.CostLimitExceeded {
		return "it costs too much"
	}
	for _, f := range failures {
		if strings.Contains(err.Error(), f.part) {
			return f.detail
		}
	}
	return "it failed"
}
