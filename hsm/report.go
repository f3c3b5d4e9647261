package hsm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
	"cryptoserve/hsm/internal/p11"
)

// Report is what a module and a token say of themselves, for an operator to read before they are put to work.
type Report struct {
	Module     string // path of the library
	Library    string // its description and version
	Cryptoki   string // version of PKCS#11
	Label      string
	Maker      string
	Model      string
	Serial     string
	Flags      []string // CKF_ names without the prefix
	Sessions   Limit    // open now and at most, all programs together
	PIN        [2]uint  // shortest and longest, bytes
	Mechanisms []Mechanism
	// LoggedIn tells whether Objects could be looked for: the PIN was given and the token took it.
	LoggedIn bool
	// Objects has a row for each label of an appliance, in the order of Labels.
	Objects []ObjectCount
	// Missing names the mechanisms that the appliance needs and the token lacks.
	Missing []string
	// Kinds has a row for each algorithm whose keys can be kept in a token.
	Kinds []Kind
}

// Kind tells whether a token can keep keys of an algorithm.
type Kind struct {
	Algorithm algs.Name
	// Missing names the mechanisms that the token lacks for it; none if it can. Keys for RSA-OAEP want SHA-256 and labels too,
	// which no list tells: the first GenerateKey finds out.
	Missing []string
}

// Limit is a number in use and the most there may be; -1 where the token does not tell.
type Limit struct{ Open, Most int }

// Mechanism is one row of the token's mechanisms. Key sizes are in bits or bytes, as the mechanism has it.
type Mechanism struct {
	Name     string
	Min, Max uint
	Flags    []string
}

// ObjectCount tells how many objects have a label.
type ObjectCount struct {
	Label string
	Count int
}

// Probe looks at the token without changing it. With a PIN it logs in, once, to see which keys are there; with an empty
// PIN it does not. fault.Conflict when this process has a Token open.
func Probe(ctx context.Context, c Config) (Report, error) {
	const op = "hsm.Probe"
	c, err := c.withDefaults()
	if err != nil {
		return Report{}, err
	}
	if err := ctx.Err(); err != nil {
		return Report{}, fault.Wrap(fault.Unavailable, op, "", err)
	}
	release, err := claim(op)
	if err != nil {
		return Report{}, err
	}
	defer release()
	m, err := c.module()
	if err != nil {
		return Report{}, err
	}
	if err := m.Initialize(); err != nil {
		return Report{}, describe(op, err)
	}
	r, err := report(m, &c, op)
	return r, errors.Join(err, describe(op, finalizeQuietly(m)))
}

func report(m p11.Module, c *Config, op string) (r Report, err error) {
	r.Module = c.Module
	info, err := m.GetInfo()
	if err != nil {
		return r, describe(op, err)
	}
	r.Library = fmt.Sprintf("%s %d.%d", info.LibraryDescription, info.LibraryVersion.Major, info.LibraryVersion.Minor)
	r.Cryptoki = fmt.Sprintf("%d.%d", info.CryptokiVersion.Major, info.CryptokiVersion.Minor)
	slot, token, err := findToken(m, op, c.TokenLabel)
	if err != nil {
		return r, err
	}
	r.Label, r.Maker, r.Model, r.Serial = token.Label, token.ManufacturerID, token.Model, token.SerialNumber
	r.Flags = flagNames(token.Flags, tokenFlags)
	r.Sessions = Limit{count(token.SessionCount, false), count(token.MaxSessionCount, true)}
	r.PIN = [2]uint{token.MinPinLen, token.MaxPinLen}
	if err := r.mechanisms(m, slot); err != nil {
		return r, describe(op, err)
	}
	return r, r.objects(m, c, op, slot, token)
}

// count turns a session count into a number, -1 when it says nothing. Zero as a maximum means there is none.
func count(n uint, isMaximum bool) int {
	if n == pkcs11.CK_UNAVAILABLE_INFORMATION || n > 1<<31 || (isMaximum && n == pkcs11.CK_EFFECTIVELY_INFINITE) {
		return -1
	}
	return int(n) // #nosec G115 -- bounded above
}

func (r *Report) mechanisms(m p11.Module, slot uint) error {
	all, err := m.GetMechanismList(slot)
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b *pkcs11.Mechanism) int { return int(a.Mechanism) - int(b.Mechanism) }) // #nosec G115
	have := map[uint]bool{}
	for _, mech := range all {
		info, err := m.GetMechanismInfo(slot, []*pkcs11.Mechanism{mech})
		if err != nil {
			return err
		}
		have[mech.Mechanism] = true
		r.Mechanisms = append(r.Mechanisms, Mechanism{
			mechanismName(mech.Mechanism), info.MinKeySize, info.MaxKeySize, flagNames(info.Flags, mechanismFlags)})
	}
	for _, n := range needed {
		if !have[n] {
			r.Missing = append(r.Missing, mechanismName(n))
		}
	}
	for _, k := range kindRows {
		r.Kinds = append(r.Kinds, Kind{k.name, k.missing(have)})
	}
	return nil
}

func (r *Report) objects(m p11.Module, c *Config, op string, slot uint, token pkcs11.TokenInfo) error {
	if c.PIN.Len() == 0 {
		return nil
	}
	if c.pinRefused() {
		return fault.Wrap(fault.HSMUnavailable, op, "the token has refused this PIN before, so it was not tried again", ErrPIN)
	}
	if err := checkLoginFlags(op, token.Flags); err != nil {
		return err
	}
	h, err := m.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION)
	if err != nil {
		return describe(op, err)
	}
	if err := login(m, c, op, h, token); err != nil {
		return err
	}
	r.LoggedIn = true
	for _, label := range labels(c.specs()) {
		found, err := findLabel(m, &session{handle: h}, label)
		if err != nil {
			return describe(op, err)
		}
		r.Objects = append(r.Objects, ObjectCount{label, len(found)})
	}
	return nil
}

// WriteTo writes the report for a person to read.
func (r Report) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	row := func(format string, a ...any) { _, _ = fmt.Fprintf(tw, format+"\n", a...) } // a Builder takes everything
	row("module\t%s", r.Module)
	row("library\t%s, PKCS#11 %s", r.Library, r.Cryptoki)
	row("token\t%s", r.Label)
	row("maker\t%s, model %s, serial number %s", r.Maker, r.Model, r.Serial)
	row("flags\t%s", strings.Join(r.Flags, " "))
	row("sessions\t%s open, %s at most", known(r.Sessions.Open), known(r.Sessions.Most))
	row("PIN\t%d to %d bytes", r.PIN[0], r.PIN[1])
	switch {
	case !r.LoggedIn:
		row("keys\tnot looked for: no PIN was given")
	default:
		for _, o := range r.Objects {
			row("key %s\t%d", o.Label, o.Count)
		}
	}
	if len(r.Missing) > 0 {
		row("missing\t%s: the appliance cannot use this token", strings.Join(r.Missing, " "))
	} else {
		row("missing\tnothing: the token has every mechanism that is needed")
	}
	for _, k := range r.Kinds {
		if len(k.Missing) > 0 {
			row("keys of %s\tcannot be kept in this token: it has no %s", k.Algorithm, strings.Join(k.Missing, " "))
		} else {
			row("keys of %s\tcan be kept in this token", k.Algorithm)
		}
	}
	row("")
	row("mechanism\tkey size\tuse")
	for _, m := range r.Mechanisms {
		row("%s\t%d-%d\t%s", m.Name, m.Min, m.Max, strings.Join(m.Flags, " "))
	}
	if err := tw.Flush(); err != nil {
		return 0, err
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

func known(n int) string {
	if n < 0 {
		return "unknown"
	}
	return fmt.Sprint(n)
}
