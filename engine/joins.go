package engine

import (
	"context"
	"crypto/ecdsa"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/limit"
	"cryptoserve/engine/policy"
)

// JoinLifetime is how long a node that asked to join may wait for an operator and then take the keys.
const JoinLifetime = 24 * time.Hour

// minFingerprint is how many hexadecimal digits of a fingerprint an operator must give: 64 bits.
const minFingerprint = 16

// joinPolls is how often a node may ask what became of its request.
var joinPolls = limit.Rate{PerSecond: 2, Burst: 10}

const causeJoinCode fault.Cause = "join-code"

// errJoinCode is the one answer to a code that does not hold, whatever is wrong with it.
var errJoinCode = fault.Wrap(fault.Unauthenticated, "engine.join",
	"the invitation code is unknown, used or over: ask for a new one", causeJoinCode)

var errNoJoin = fault.New(fault.NotFound, "engine.join", "there is no such request to join, or it is over")

// JoinInfo is a request to join as an operator sees it.
type JoinInfo struct {
	Record *directory.Join
	// Fingerprint is what he compares with what the joining node shows.
	Fingerprint string
}

func joinInfo(j *directory.Join) JoinInfo {
	return JoinInfo{Record: j, Fingerprint: directory.FormatFingerprint(j.Fingerprint())}
}

// Joins lists the requests to join that are not over, in order of id.
func (e *Engine) Joins(_ context.Context, c *Call) ([]JoinInfo, error) {
	r := c.begin(policy.ListJoins)
	_, err := e.authorizeChange(c, policy.ListJoins)
	now := e.now().UnixMilli()
	var list []JoinInfo
	if err == nil {
		for _, j := range e.ledger.View().Joins() {
			if j.ExpiresAt > now {
				list = append(list, joinInfo(j))
			}
		}
	}
	if err := e.finish(c, &r, err); err != nil {
		return nil, err
	}
	return list, nil
}

// JoinRequest is what a node says that wants to join.
type JoinRequest struct {
	// Join has what the node says of itself, and the hash of its code. The rest is the cluster's and ignored.
	Join directory.Join
	// Signature is ECDSA by the node key over Join.RequestDigest, ASN.1 DER.
	Signature []byte
}

// RequestJoin lets a node that has an invitation code ask to join. The code is used up by it. The same request again has the same
// answer: the node may not have had the first one.
func (e *Engine) RequestJoin(ctx context.Context, c *Call, in *JoinRequest) (*directory.Join, error) {
	r := c.begin(policy.RequestJoin)
	if saidBytes(&in.Join) > maxJoinBytes {
		return nil, e.finishGuest(c, &r, fault.New(fault.TooLarge, "engine.join", "the request to join is too long"))
	}
	if err := e.look(c); err != nil {
		return nil, e.finishGuest(c, &r, err)
	}
	view := e.ledger.View()
	if j := e.joinOf(view, in.Join.Hash); j != nil && e.joinKnown(j, in) {
		r.Resource = j.ID
		if err := e.visit(c); err != nil {
			return nil, e.finishGuest(c, &r, err)
		}
		if err := e.finish(c, &r, nil); err != nil {
			return nil, err
		}
		return j, nil
	}
	i := view.JoinInvitation(in.Join.Hash)
	now := e.now()
	if i == nil || i.ExpiresAt <= now.UnixMilli() {
		return nil, e.finishGuest(c, &r, e.badJoinCode(c))
	}
	r.Resource = i.ID
	if err := e.visit(c); err != nil {
		return nil, e.finishGuest(c, &r, err)
	}
	j := in.Join
	j.ID, j.Invitation, j.State = "join_"+randomID(), i.ID, directory.JoinWaiting
	j.CreatedAt, j.ExpiresAt = now.UnixMilli(), now.Add(JoinLifetime).UnixMilli()
	j.DecidedBy, j.DecidedAt, j.Transfer = "", 0, nil
	if err := checkJoin(&j, in.Signature); err != nil {
		return nil, e.finish(c, &r, err)
	}
	r.Resource = j.ID
	if err := e.propose(ctx, c, &r, command.RequestJoin{Join: j}); err != nil {
		return nil, err
	}
	return &j, nil
}

// maxJoinBytes bounds what a node says of itself.
const maxJoinBytes = 8 << 10

func saidBytes(j *directory.Join) int {
	n := len(j.Node) + len(j.Name) + len(j.Address) + len(j.API) + len(j.Method) + len(j.NodeKey) + len(j.JoinKey) + len(j.OAEP)
	return n + len(j.Check.Master) + len(j.Check.WrapPrivate) + len(j.Check.WrapSecret) + len(j.Program)
}

// badJoinCode is the answer to a code that is not known, or that its address has to wait.
func (e *Engine) badJoinCode(c *Call) error {
	who := guest{purpose: forJoining, address: network(c.Source)}
	if err := e.try(who); err != nil {
		return err
	}
	e.failed(who)
	return errJoinCode
}

// joinOf returns the request that was made with a code and is not over.
func (e *Engine) joinOf(view View, hash [32]byte) *directory.Join {
	now := e.now().UnixMilli()
	for _, j := range view.Joins() {
		if j.Hash == hash && j.ExpiresAt > now {
			return j
		}
	}
	return nil
}

// joinKnown reports whether a request is the one that there is.
func (e *Engine) joinKnown(j *directory.Join, in *JoinRequest) bool {
	return j.RequestDigest() == in.Join.RequestDigest() && signedBy(j, j.RequestDigest(), in.Signature)
}

// signedBy reports whether a node signed a digest.
func signedBy(j *directory.Join, digest [32]byte, signature []byte) bool {
	key, err := directory.ParseNodeKey(j.NodeKey)
	return err == nil && ecdsa.VerifyASN1(key, digest[:], signature)
}

// checkJoin refuses a request whose keys are none, or that the node key did not sign. The ledger looks at the rest.
func checkJoin(j *directory.Join, signature []byte) error {
	if _, err := directory.ParseNodeKey(j.NodeKey); err != nil {
		return malformedField("node_key", err.Error())
	}
	switch j.Method {
	case directory.JoinShared, directory.JoinPreloaded:
	case directory.JoinWrap:
		if err := directory.CheckJoinKey(j.JoinKey); err != nil {
			return malformedField("join_key", err.Error())
		}
		if j.OAEP != string(algs.SHA256) && j.OAEP != "SHA-1" {
			return malformedField("oaep_hash", "is neither SHA-256 nor SHA-1")
		}
	default:
		return malformedField("method", "is neither wrap, shared nor preloaded")
	}
	if !signedBy(j, j.RequestDigest(), signature) {
		return fault.Wrap(fault.Forbidden, "engine.join", "the request is not signed by the node key that it announces",
			fault.Cause("signature"))
	}
	return nil
}

// JoinAnswer is what became of a request to join.
type JoinAnswer struct {
	Join *directory.Join
	// The rest is there when it was approved. Check tells which keys the node must have; Join.Transfer has them until it is a member.
	Cluster *directory.Cluster
	Check   directory.KeyCheckValues
	Members []*directory.Member // active ones
}

// JoinStatus tells a node what became of its request, which it names and shows the hash of its code for. Nothing is recorded while it
// waits: a node asks every second.
func (e *Engine) JoinStatus(_ context.Context, c *Call, id string, hash [32]byte) (*JoinAnswer, error) {
	r := c.begin(policy.ReadJoin)
	if err := e.look(c); err != nil {
		return nil, e.finishGuest(c, &r, err)
	}
	view := e.ledger.View()
	j := e.joinOf(view, hash)
	if j == nil || j.ID != id {
		return nil, e.finishGuest(c, &r, e.badJoinCode(c))
	}
	r.Resource = j.ID
	if retry, ok := e.guests.polls.Allow(hash, joinPolls, 1, e.now()); !ok {
		return nil, e.finishGuest(c, &r, tooMany("tries", retry))
	}
	answer := &JoinAnswer{Join: j}
	switch j.State {
	case directory.JoinApproved, directory.JoinDone:
		answer.Cluster, answer.Members = view.Cluster(), slices.DeleteFunc(view.Members(), func(m *directory.Member) bool {
			return m.Status != directory.MemberActive
		})
		var err error
		if answer.Check, err = e.checkValues(); err != nil {
			return nil, e.finish(c, &r, err)
		}
	case directory.JoinWaiting:
		if err := e.held(c); err != nil {
			return nil, e.finish(c, &r, err)
		}
		return answer, nil
	default:
	}
	if err := e.finish(c, &r, nil); err != nil {
		return nil, err
	}
	return answer, nil
}

// checkValues tells which keys this node's token has.
func (e *Engine) checkValues() (directory.KeyCheckValues, error) {
	if e.giver == nil {
		return directory.KeyCheckValues{}, errNoPort
	}
	check := e.giver.KeyCheckValues()
	if len(check.Master) == 0 {
		return check, fault.New(fault.HSMUnavailable, "engine.join", "the token does not show its keys now: try again")
	}
	return check, nil
}

// ApproveJoin lets a node join. The operator gives the fingerprint that the node shows, or at least its first 16 hexadecimal digits.
// With the method wrap the keys of the cluster are wrapped for the node; otherwise its token must have them already.
func (e *Engine) ApproveJoin(ctx context.Context, c *Call, id, fingerprint string) (JoinInfo, error) {
	r := c.begin(policy.DecideJoin)
	r.Resource = id
	err := e.changeAs(ctx, c, &r, policy.DecideJoin, func(by *directory.User) (command.Command, error) {
		j, err := e.waitingJoin(id)
		if err != nil {
			return nil, err
		}
		if err := matchesFingerprint(j, fingerprint); err != nil {
			return nil, err
		}
		decision := command.DecideJoin{ID: j.ID, Approve: true, Fingerprint: j.Fingerprint(), By: decider(by)}
		if err := e.giveKeys(ctx, j, &decision); err != nil {
			return nil, err
		}
		r.Cause = "approved"
		decision.At = e.now().UnixMilli()
		return decision, nil
	})
	return e.decidedJoin(id, err)
}

// giveKeys has the token wrap the keys for a node, or compares those that it says it has.
func (e *Engine) giveKeys(ctx context.Context, j *directory.Join, decision *command.DecideJoin) error {
	check, err := e.checkValues()
	if err != nil {
		return err
	}
	if j.Method != directory.JoinWrap {
		if !check.Equal(&j.Check) {
			return fault.New(fault.Conflict, "engine.join", "the token of the node has other keys than the cluster: "+
				"use the same partition, load the cluster's keys into it, or join with the method wrap")
		}
		return nil
	}
	transfer, err := e.giver.TransferKeys(ctx, j.JoinKey, algs.Name(j.OAEP))
	if err != nil {
		return err
	}
	if !check.Equal(&transfer.Check) {
		return fault.New(fault.Internal, "engine.join", "the token wrapped other keys than it has")
	}
	decision.Transfer = &transfer
	return nil
}

// DenyJoin refuses a node.
func (e *Engine) DenyJoin(ctx context.Context, c *Call, id string) (JoinInfo, error) {
	r := c.begin(policy.DecideJoin)
	r.Resource = id
	err := e.changeAs(ctx, c, &r, policy.DecideJoin, func(by *directory.User) (command.Command, error) {
		j, err := e.waitingJoin(id)
		if err != nil {
			return nil, err
		}
		r.Cause = "denied"
		return command.DecideJoin{ID: j.ID, Fingerprint: j.Fingerprint(), By: decider(by), At: e.now().UnixMilli()}, nil
	})
	return e.decidedJoin(id, err)
}

func decider(by *directory.User) string {
	if by == nil {
		return "appliance"
	}
	return by.ID
}

func (e *Engine) decidedJoin(id string, err error) (JoinInfo, error) {
	if err != nil {
		return JoinInfo{}, err
	}
	j := e.ledger.View().Join(id)
	if j == nil {
		return JoinInfo{}, errNoJoin // it ended meanwhile, and the next request cleared it away
	}
	return joinInfo(j), nil
}

// waitingJoin returns a request that an operator can decide.
func (e *Engine) waitingJoin(id string) (*directory.Join, error) {
	j := e.ledger.View().Join(id)
	switch {
	case j == nil || j.ExpiresAt <= e.now().UnixMilli():
		return nil, errNoJoin
	case j.State != directory.JoinWaiting:
		return nil, fault.New(fault.Conflict, "engine.join", "the request to join was decided already: it is "+j.State.String())
	default:
		return j, nil
	}
}

// matchesFingerprint compares what an operator gives with the fingerprint of the record. Blanks and colons do not count.
func matchesFingerprint(j *directory.Join, given string) error {
	digits := strings.ToLower(strings.NewReplacer(" ", "", ":", "", "-", "").Replace(given))
	whole := j.Fingerprint()
	switch {
	case len(digits) < minFingerprint || len(digits) > 2*len(whole) || strings.Trim(digits, "0123456789abcdef") != "":
		return malformedField("fingerprint", "must be the fingerprint that the joining node shows, or at least its first 16 "+
			"hexadecimal digits")
	case !strings.HasPrefix(hex.EncodeToString(whole[:]), digits):
		return fault.Wrap(fault.Forbidden, "engine.join", "the fingerprint is not that of the node that asks to join: "+
			"deny the request, and find out who else has the code", fault.Cause("fingerprint"))
	default:
		return nil
	}
}

// JoinProof is how a node shows that its token has the keys.
type JoinProof struct {
	ID   string
	Hash [32]byte // of the code
	// Check is of the keys in the node's token.
	Check directory.KeyCheckValues
	// Signature is ECDSA by the node key over directory.JoinCompleteDigest, ASN.1 DER.
	Signature []byte
}

// CompleteJoin makes the node of an approved request a member. The same proof again, of a node that is a member by this request, has
// the same answer and changes nothing: the node may not have had the first one.
func (e *Engine) CompleteJoin(ctx context.Context, c *Call, in *JoinProof) error {
	r := c.begin(policy.CompleteJoin)
	if err := e.look(c); err != nil {
		return e.finishGuest(c, &r, err)
	}
	view := e.ledger.View()
	j := e.joinOf(view, in.Hash)
	if j == nil || j.ID != in.ID {
		return e.finishGuest(c, &r, e.badJoinCode(c))
	}
	r.Resource = j.ID
	if err := e.visit(c); err != nil {
		return e.finishGuest(c, &r, err)
	}
	done, err := e.checkProof(view, j, in)
	if err != nil || done {
		return e.finish(c, &r, err)
	}
	return e.propose(ctx, c, &r, command.CompleteJoin{ID: j.ID, At: e.now().UnixMilli()})
}

// checkProof refuses a proof that does not hold. It reports whether the node is a member already.
func (e *Engine) checkProof(view View, j *directory.Join, in *JoinProof) (done bool, err error) {
	check, err := e.checkValues()
	if err != nil {
		return false, err
	}
	switch {
	case j.State != directory.JoinApproved && j.State != directory.JoinDone:
		return false, fault.New(fault.Conflict, "engine.join", "the request to join is not approved: it is "+j.State.String())
	case !check.Equal(&in.Check):
		return false, fault.Wrap(fault.Conflict, "engine.join", "the node's token has other keys than the cluster: their check values differ",
			fault.Cause("check-values"))
	case !signedBy(j, directory.JoinCompleteDigest(j.ID, &check), in.Signature):
		return false, fault.Wrap(fault.Forbidden, "engine.join", "the proof is not signed by the node key that was approved",
			fault.Cause("signature"))
	case j.State == directory.JoinApproved:
		return false, nil
	}
	if m := view.Member(j.Node); m == nil || m.Status != directory.MemberActive {
		return false, fault.New(fault.Conflict, "engine.join", "the node joined and was removed since: ask for a new invitation")
	}
	return true, nil
}
