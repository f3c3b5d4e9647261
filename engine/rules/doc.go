// Package rules decides on operations by rules that operators write in CEL, the Common Expression Language
// (https://cel.dev, github.com/google/cel-spec). A rule's text is compiled once, which checks its types and bounds its cost,
// and is then evaluated against the values of each operation. True lets the operation pass; false is a violation.
//
// # What a rule sees
//
//	algorithm.name                     string     the row of package algs: "AES-256-GCM"
//	algorithm.key_bits                 int        of the secret key; 0 where the key is a pair or comes with the request
//	algorithm.security_bits            int        strength against classical computers
//	algorithm.quantum_resistant        bool
//	algorithm.hardware_acceleration    bool       the cipher is AES
//	algorithm.approved                 bool       a FIPS-approved algorithm
//	algorithm.cipher                   string     "AES" or "ChaCha20"; empty where no data is encrypted under a symmetric key
//	algorithm.mode                     string     "gcm", "gcm-siv", "ccm", "ctr", "cbc", "xts", "poly1305"; empty as cipher
//	context.name                       string
//	context.sensitivity                string     "critical", "high", "medium", "low"
//	context.pii, .phi, .pci            bool
//	context.notification_required      bool
//	context.frameworks                 list       of strings: "HIPAA"
//	context.protection_lifetime_years  double
//	context.frequency                  string     "high", "medium", "low", "rare"
//	context.audit_level                string     "full", "detailed", "standard", "minimal"
//	identity.id, .name, .team          string
//	identity.type                      string     "application", "user"
//	identity.environment               string
//	operation                          string     the last word of the action: "encrypt"
//	operation_class                    string     "protect", "process"
//	data.size                          int        bytes
//	now                                timestamp  UTC
//
// Each name is one variable of one type: there are no objects, so a misspelt field is an error when the rule is compiled, and
// none can be absent when it is evaluated.
//
// # What a rule can do
//
// Operators, the conditional, `in`, indexing, list and map literals; size, contains, startsWith, endsWith, matches; int, double,
// string, timestamp, duration; the parts of a timestamp in UTC and of a duration; the macros all, exists, exists_one, map and
// filter. Numbers of different types can be ordered, but not tested for equality. Time zones are left out since they are read
// from files; dyn, type and messages are left out since they escape the checks.
//
// # Bounds
//
// Whoever may write a rule must not be able to stop the service with it. A text has at most 4 KiB, 1000 nodes, a depth of 40
// and 8 loops, 2 of them in each other; a loop over what a loop makes counts as one in it. Lists and maps hold plain values only
// and the keys of a map are constants, so that neither a type nor a value can double at each step. Patterns are constants, with
// at most 128 instructions after compilation. What remains is held to CostLimit twice: as an estimate from the longest inputs
// when the rule is compiled, and as it is counted when it is evaluated. A unit is about 50 ns by CEL's measure.
package rules
