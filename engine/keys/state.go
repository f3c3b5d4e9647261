package keys

// State is where a key version stands in its life: SP 800-57 part 1 revision 5, section 7. The zero State is unknown and
// allows nothing.
type State uint8

// The states. The numbers are persisted: never change or reuse one.
const (
	StateUnknown  State = 0
	PreActivation State = 1
	Active        State = 2
	Suspended     State = 3
	Deactivated   State = 4
	Compromised   State = 5
	Destroyed     State = 6
)

var stateNames = [...]string{"unknown", "pre-activation", "active", "suspended", "deactivated", "compromised", "destroyed"}

func (s State) String() string {
	if int(s) >= len(stateNames) {
		return stateNames[StateUnknown]
	}
	return stateNames[s]
}

// Class is what an operation does with a key: apply protection, or process what is already protected (SP 800-57 part 1,
// section 5.3.6). The zero Class is unknown and never allowed.
type Class uint8

// The classes of use.
const (
	ClassUnknown Class = iota
	Protect            // encrypt, sign, wrap
	Process            // decrypt, verify, unwrap
)

// allowed is the table state x class. What is absent is refused. A compromised version processes only for subjects with the
// permission for it: Version.Allows.
var allowed = map[State]map[Class]bool{
	Active:      {Protect: true, Process: true},
	Deactivated: {Process: true},
}

// Allows reports whether a version in state s may be used for class c.
func (s State) Allows(c Class) bool { return allowed[s][c] }

// transitions is the table of lawful changes of state (SP 800-57 part 1, section 7.2 and figure 5).
var transitions = map[State][]State{
	PreActivation: {Active, Compromised, Destroyed},
	Active:        {Suspended, Deactivated, Compromised},
	Suspended:     {Active, Deactivated, Compromised},
	Deactivated:   {Compromised, Destroyed},
	Compromised:   {Destroyed},
}

// MayBecome reports whether a version may go from s to next.
func (s State) MayBecome(next State) bool {
	for _, t := range transitions[s] {
		if t == next {
			return true
		}
	}
	return false
}
