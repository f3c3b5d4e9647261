package rules

import (
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/checker"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// The bounds of a rule.
const (
	MaxBytes  = 4 << 10 // of a rule's text
	CostLimit = 10_000  // of CEL's units

	maxNodes       = 1000
	maxDepth       = 40
	maxLoops       = 8
	maxNestedLoops = 2
	maxPattern     = 128 // instructions
	maxPatternText = 256 // bytes
)

// functions are all that a rule can call; nil stands for all overloads. What is not here does not exist for it.
var functions = map[string][]string{
	operators.Conditional: nil, operators.LogicalAnd: nil, operators.LogicalOr: nil, operators.LogicalNot: nil,
	operators.Equals: nil, operators.NotEquals: nil,
	operators.Less: nil, operators.LessEquals: nil, operators.Greater: nil, operators.GreaterEquals: nil,
	operators.Add: nil, operators.Subtract: nil, operators.Multiply: nil, operators.Divide: nil, operators.Modulo: nil,
	operators.Negate: nil, operators.Index: nil, operators.In: nil,
	operators.NotStrictlyFalse: nil, // in what the macros all and exists stand for

	overloads.Size: nil, overloads.Contains: nil, overloads.StartsWith: nil, overloads.EndsWith: nil, overloads.Matches: nil,
	overloads.TypeConvertInt: nil, overloads.TypeConvertDouble: nil, overloads.TypeConvertString: nil,
	overloads.TypeConvertTimestamp: nil, overloads.TypeConvertDuration: nil,

	// The overloads with a time zone read files.
	overloads.TimeGetFullYear:     {overloads.TimestampToYear},
	overloads.TimeGetMonth:        {overloads.TimestampToMonth},
	overloads.TimeGetDayOfYear:    {overloads.TimestampToDayOfYear},
	overloads.TimeGetDate:         {overloads.TimestampToDayOfMonthOneBased},
	overloads.TimeGetDayOfMonth:   {overloads.TimestampToDayOfMonthZeroBased},
	overloads.TimeGetDayOfWeek:    {overloads.TimestampToDayOfWeek},
	overloads.TimeGetHours:        {overloads.TimestampToHours, overloads.DurationToHours},
	overloads.TimeGetMinutes:      {overloads.TimestampToMinutes, overloads.DurationToMinutes},
	overloads.TimeGetSeconds:      {overloads.TimestampToSeconds, overloads.DurationToSeconds},
	overloads.TimeGetMilliseconds: {overloads.TimestampToMilliseconds, overloads.DurationToMilliseconds},
}

var macros = []string{operators.All, operators.Exists, operators.ExistsOne, operators.Map, operators.Filter}

// language is the environment of all rules. It is immutable once made, and goroutines share it.
var language = sync.OnceValues(func() (*cel.Env, error) {
	subset := env.NewLibrarySubset().AddIncludedMacros(macros...)
	for name, ids := range functions {
		f := env.NewFunction(name)
		for _, id := range ids {
			f.Overloads = append(f.Overloads, env.NewOverload(id, nil, nil))
		}
		subset.AddIncludedFunctions(f)
	}
	options := []cel.EnvOption{
		cel.StdLib(cel.StdLibSubset(subset)),
		cel.CrossTypeNumericComparisons(true),
		cel.ParserRecursionLimit(maxDepth),
		cel.ParserExpressionSizeLimit(MaxBytes),
		cel.ParserErrorRecoveryLimit(1),
		cel.ExpressionNodeLimit(maxNodes),
		cel.ASTValidators(cel.ValidateComprehensionNestingLimit(maxNestedLoops)),
		cel.ExtendedValidations(),
	}
	for i := range variables {
		options = append(options, cel.Variable(variables[i].name, variables[i].typ))
	}
	return cel.NewCustomEnv(options...)
})

// program plans a checked rule: constants are computed once and patterns compiled once, and each evaluation counts its cost.
func program(e *cel.Env, checked *cel.Ast) (cel.Program, error) {
	return e.Program(checked,
		cel.EvalOptions(cel.OptOptimize, cel.OptTrackCost),
		cel.CostLimit(CostLimit),
		cel.CostTrackerOptions(
			interpreter.OverloadCostTracker(overloads.Matches, matchCost),
			interpreter.OverloadCostTracker(overloads.MatchesString, matchCost),
		))
}

// matchCost counts a pattern as one unit a character. CEL counts by the length of the pattern, which says little: `(.{50}){2}`
// is short. Since patterns are constants of maxPattern instructions at most, the text alone is what can grow.
func matchCost(args []ref.Val, _ ref.Val) *uint64 {
	cost := uint64(1)
	if s, ok := args[0].(traits.Sizer); ok {
		if n, ok := s.Size().(types.Int); ok && n > 0 {
			cost += uint64(n)
		}
	}
	return &cost
}

// estimator tells CEL what it cannot know of a rule before it is evaluated: how long inputs are.
type estimator struct{}

var _ checker.CostEstimator = estimator{}

// EstimateSize returns the longest size of a variable, or of an item of one.
func (estimator) EstimateSize(node checker.AstNode) *checker.SizeEstimate {
	path := node.Path()
	switch {
	case len(path) == 1 && path[0] == frameworksName:
		return upTo(frameworkCount)
	case len(path) == 2 && path[0] == frameworksName && path[1] == "@items":
		return upTo(frameworkSize)
	case len(path) == 1 && variableByName[path[0]] != nil && variableByName[path[0]].typ == cel.StringType:
		return upTo(nameSize)
	default:
		return nil
	}
}

// EstimateCallCost returns the cost of a pattern as matchCost counts it, and the size of numbers as text.
func (estimator) EstimateCallCost(_, overload string, target *checker.AstNode, args []checker.AstNode) *checker.CallEstimate {
	switch overload {
	case overloads.Matches, overloads.MatchesString:
		subject := args[0]
		if target != nil {
			subject = *target
		}
		size := checker.UnknownSizeEstimate()
		if known := subject.ComputedSize(); known != nil {
			size = *known
		}
		return &checker.CallEstimate{CostEstimate: size.Add(checker.FixedSizeEstimate(1)).AsCost()}
	case overloads.BoolToString, overloads.IntToString, overloads.UintToString, overloads.DoubleToString,
		overloads.TimestampToString, overloads.DurationToString:
		return &checker.CallEstimate{CostEstimate: checker.FixedCostEstimate(1), ResultSize: upTo(40)}
	default:
		return nil
	}
}

func upTo(n uint64) *checker.SizeEstimate { return &checker.SizeEstimate{Max: n} }
