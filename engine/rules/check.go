package rules

import (
	"fmt"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"

	"cryptoserve/engine/fault"
)

// maxMessage is the longest message of CEL's that a refusal repeats, in characters: some list what they expected instead.
const maxMessage = 160

// refused is a rule that is not compiled, and why.
func refused(detail string) *fault.Error { return fault.New(fault.Malformed, "rules.compile", detail) }

// refusedAt says where, in lines and columns from 1.
func refusedAt(at common.Location, detail string) *fault.Error {
	if at == nil || at.Line() < 1 {
		return refused(detail)
	}
	return refused(fmt.Sprintf("line %d, column %d: %s", at.Line(), at.Column()+1, detail))
}

// refusedBy repeats the first thing that CEL found. parsed helps to say more of an unknown name; it may be nil.
func refusedBy(issues *cel.Issues, parsed *ast.AST) *fault.Error {
	found := issues.Errors()
	if len(found) == 0 {
		return refused("the rule cannot be read")
	}
	first := slices.MinFunc(found, func(a, b *cel.Error) int {
		if a.Location.Line() != b.Location.Line() {
			return a.Location.Line() - b.Location.Line()
		}
		return a.Location.Column() - b.Location.Column()
	})
	return refusedAt(first.Location, reword(first, parsed))
}

// reword says what CEL says in words of the rule's text. Unknown messages stay as they are, on one line.
func reword(e *cel.Error, parsed *ast.AST) string {
	if name, ok := quoted(e.Message, "undeclared reference to '"); ok {
		if field := selected(e.ExprID, parsed); field != "" && len(fields(name)) > 0 {
			return fmt.Sprintf("%s has no field %s: it has %s", name, plain(field), strings.Join(fields(name), ", "))
		}
		if all := fields(name); len(all) > 0 {
			return fmt.Sprintf("%s is not a value: name one of its fields %s", name, strings.Join(all, ", "))
		}
		return fmt.Sprintf("rules have no variable, function or macro %s", plain(name))
	}
	if name, ok := quoted(e.Message, "found no matching overload for '"); ok {
		if name == operators.Conditional {
			name = "?:" // which has no reverse
		} else if symbol, ok := operators.FindReverse(name); ok {
			name = symbol
		}
		_, operands, _ := strings.Cut(e.Message, "' applied to '")
		return fmt.Sprintf("%s does not take %s", plain(name), plain(strings.TrimSuffix(operands, "'")))
	}
	return plain(e.Message)
}

// quoted returns what stands between a message's beginning and the next quote.
func quoted(message, beginning string) (string, bool) {
	rest, ok := strings.CutPrefix(message, beginning)
	if !ok {
		return "", false
	}
	before, _, found := strings.Cut(rest, "'")
	return before, found
}

// selected returns the field that is read from a node; empty if none is.
func selected(id int64, parsed *ast.AST) string {
	field := ""
	if parsed != nil {
		ast.PreOrderVisit(parsed.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
			if e.Kind() == ast.SelectKind && e.AsSelect().Operand().ID() == id {
				field = e.AsSelect().FieldName()
			}
		}))
	}
	return field
}

// plain returns a message without what is not printable, and not too much of it.
func plain(message string) string {
	message = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, message)
	if cut := []rune(message); len(cut) > maxMessage {
		message = string(cut[:maxMessage]) + " ..."
	}
	return message
}

// checkShape holds a parsed rule to what must be so before its types are inferred: a map whose key is a map lets each step of a
// chain square the size of its type.
func checkShape(parsed *ast.AST) error {
	var err error
	loops := 0
	ast.PreOrderVisit(parsed.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		detail := ""
		switch e.Kind() {
		case ast.StructKind:
			detail = "rules make no messages"
		case ast.MapKind:
			for _, entry := range e.AsMap().Entries() {
				if entry.AsMapEntry().Key().Kind() != ast.LiteralKind {
					detail = "the keys of a map must be constants"
				}
			}
		case ast.ComprehensionKind:
			loops++
			detail = checkLoop(e.AsComprehension(), loops)
		case ast.CallKind:
			detail = checkPattern(e.AsCall())
		default:
		}
		if detail != "" && err == nil {
			err = refusedAt(parsed.SourceInfo().GetStartLocation(e.ID()), detail)
		}
	}))
	return err
}

func checkLoop(loop ast.ComprehensionExpr, count int) string {
	name := loop.IterVar()
	switch {
	case count > maxLoops:
		return fmt.Sprintf("more than %d loops", maxLoops)
	case variableByName[name] != nil || len(fields(name)) > 0:
		return name + " is a variable of all rules and cannot be one of a loop"
	default:
		return ""
	}
}

func checkPattern(call ast.CallExpr) string {
	args := call.Args()
	if call.FunctionName() != overloads.Matches || len(args) == 0 {
		return ""
	}
	pattern := args[len(args)-1]
	if pattern.Kind() != ast.LiteralKind {
		return "a pattern must be a constant"
	}
	text, ok := pattern.AsLiteral().(types.String)
	if !ok {
		return "a pattern must be a text"
	}
	if len(text) > maxPatternText {
		return fmt.Sprintf("a pattern has at most %d bytes", maxPatternText)
	}
	n, err := instructions(string(text))
	if err != nil {
		return "the pattern is not a regular expression: " + plain(err.Error())
	}
	if n > maxPattern {
		return fmt.Sprintf("the pattern has %d instructions, %d at most: each repetition counts", n, maxPattern)
	}
	return ""
}

// instructions returns the length of a pattern's program, which is what matching takes for each character at most. cel-go
// v0.32.0 has a limit of its own, which panics on repetitions with a count, since it does not simplify them first.
func instructions(pattern string) (int, error) {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 0, err
	}
	compiled, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return 0, err
	}
	return len(compiled.Inst), nil
}

// checkTypes holds a checked rule to plain values and lists and maps of them. A list of lists can refer to one list many times,
// and so be compared for longer than CEL counts: eight references in each of ten steps are 2^30 comparisons.
func checkTypes(checked *ast.AST) error {
	var err error
	ast.PreOrderVisit(checked.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if err == nil && !allowed(checked.GetType(e.ID())) {
			name := plain(cel.FormatCELType(checked.GetType(e.ID())))
			err = refusedAt(checked.SourceInfo().GetStartLocation(e.ID()),
				"the type "+name+" is not one of rules: plain values, and lists and maps of them")
		}
	}))
	return err
}

func allowed(t *types.Type) bool {
	switch t.Kind() {
	case types.ListKind, types.MapKind:
		for _, of := range t.Parameters() {
			if !isPlain(of) {
				return false
			}
		}
		return true
	default:
		return isPlain(t)
	}
}

func isPlain(t *types.Type) bool {
	switch t.Kind() {
	case types.BoolKind, types.IntKind, types.DoubleKind, types.StringKind, types.TimestampKind, types.DurationKind:
		return true
	default:
		return false
	}
}

// readsMoment reports whether a checked rule reads what differs from one call to the next.
func readsMoment(checked *ast.AST) bool {
	for _, r := range checked.ReferenceMap() {
		if r.Name == sizeName || r.Name == nowName {
			return true
		}
	}
	return false
}
