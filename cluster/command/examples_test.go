package command

import (
	"cryptoserve/engine/algs"
	"cryptoserve/engine/classify"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/keys"
)

// examples has one fully filled command of each type: the golden files are their encodings.
var examples = [typeEnd]Command{
	TypeCreateCluster: CreateCluster{directory.Cluster{
		ID: "cls_0123456789abcdef", CreatedAt: 1760000000000, MasterKCV: fill(8, 1), CACertificate: fill(40, 2), CAKey: fill(48, 3),
	}},
	TypeCreateTenant: CreateTenant{directory.Tenant{
		ID: "ten_0123456789abcdef", Name: "example", Status: directory.Enabled, CreatedAt: 1760000000001,
	}},
	TypeCreateContext: CreateContext{
		Context: directory.Context{
			Tenant: "ten_0123456789abcdef", Name: "user-pii", Description: "personal data", Algorithm: algs.AES256GCM, Format: 4,
			Derivation: directory.Salted, Status: directory.Enabled, ActiveKey: "key_user-pii_0123456789abcdef", Versions: 1,
			CreatedAt: 1760000000002,
		},
		Version: keys.Version{
			ID: "key_user-pii_0123456789abcdef", Tenant: "ten_0123456789abcdef", Context: "user-pii", Number: 1, State: keys.Active,
			Algorithm: algs.AES256GCM, Bits: 256, Salt: fill(32, 4), CreatedAt: 1760000000002,
		},
	},
	TypeRotateContext: RotateContext{keys.Version{
		ID: "key_user-pii_fedcba9876543210", Tenant: "ten_0123456789abcdef", Context: "user-pii", Number: 2, State: keys.Active,
		Algorithm: algs.AES256GCM, Bits: 256, Salt: fill(32, 5), CreatedAt: 1760000000003, DeactivatedAt: 1, Leased: 2,
	}},
	TypeCreateApplication: CreateApplication{directory.Application{
		ID: "app_demo_0123456789abcdef", Tenant: "ten_0123456789abcdef", Name: "demo", Team: "team", Environment: "production",
		Status: directory.Enabled, Grants: []directory.Grant{{Context: "user-pii", Encrypt: true}, {Context: "general", Decrypt: true}},
		KeyID: "kid", PublicKey: fill(32, 6), SealedKey: fill(93, 7), CreatedAt: 1760000000004,
	}},
	TypeCreateUser: CreateUser{directory.User{
		ID: "usr_0123456789abcdef", Tenant: "ten_0123456789abcdef", Name: "owner",
		Roles: []directory.Role{directory.Owner, directory.Operator}, Status: directory.Enabled, CreatedAt: 1760000000005,
	}},
	TypeCreateSession: CreateSession{directory.Session{
		Hash: [32]byte(fill(32, 8)), User: "usr_0123456789abcdef", Tenant: "ten_0123456789abcdef", CreatedAt: 1760000000006,
		ExpiresAt: 1760000600006,
	}},
	TypeCreateRefresh: CreateRefresh{directory.RefreshFamily{
		ID: "ref_0123456789abcdef", Tenant: "ten_0123456789abcdef", Application: "app_demo_0123456789abcdef",
		Hash: [32]byte(fill(32, 9)), Generation: 3, Revoked: true, CreatedAt: 1760000000007, ExpiresAt: 1762592000007,
	}},
	TypeRotateRefresh: RotateRefresh{
		Family: "ref_0123456789abcdef", Presented: [32]byte(fill(32, 10)), Next: [32]byte(fill(32, 11)), At: 1760000000008,
		ExpiresAt: 1762592000008,
	},
	TypeLeaseUsage: LeaseUsage{Key: "key_user-pii_0123456789abcdef", Count: 1 << 20},
	TypeCreateKey: CreateKey{
		Object: keys.Object{
			Tenant: "ten_0123456789abcdef", Name: "invoices", Context: "user-pii", Purpose: keys.PurposeSign,
			Algorithm: algs.Ed25519, Protection: keys.Host, Disabled: true, ActiveKey: "key_user-pii_00112233445566aa", Versions: 1,
			CreatedAt: 1760000000009, Description: "signs invoices",
		},
		Version: keys.Version{
			ID: "key_user-pii_00112233445566aa", Tenant: "ten_0123456789abcdef", Context: "user-pii", Number: 1, State: keys.Active,
			Algorithm: algs.Ed25519, CreatedAt: 1760000000009, Object: "invoices", Public: fill(32, 12), Sealed: fill(93, 13),
			Imported: true,
		},
		Import: "import_0123456789abcdef",
	},
	TypeRotateKey: RotateKey{
		Version: keys.Version{
			ID: "key_user-pii_00112233445566bb", Tenant: "ten_0123456789abcdef", Context: "user-pii", Number: 2, State: keys.Active,
			Algorithm: algs.ECDSAP256, CreatedAt: 1760000000010, Object: "invoices", Public: fill(91, 14), Wrapped: fill(160, 15),
		},
		Import: "import_0123456789abcdef",
	},
	TypeSetKeyDisabled: SetKeyDisabled{Tenant: "ten_0123456789abcdef", Name: "invoices", Disabled: true},
	TypeCreateImport: CreateImport{keys.Import{
		ID: "import_0123456789abcdef", Tenant: "ten_0123456789abcdef", Protection: keys.Token, Public: fill(50, 16),
		Sealed: fill(60, 17), Wrapped: fill(70, 18), Hash: algs.SHA256, CreatedAt: 1760000000011, ExpiresAt: 1760003600011,
	}},
	TypeImportLegacy: ImportLegacy{
		Tenant: "ten_0123456789abcdef", Import: "import_0123456789abcdef",
		Masters: []keys.LegacyMaster{{
			Number: 1, Tenant: "ten_0123456789abcdef", KCV: fill(8, 19), Wrapped: fill(40, 20), CreatedAt: 1760000000012,
		}},
		Keys: []keys.LegacyKey{{
			Tenant: "ten_0123456789abcdef", KeyID: "key_user-pii_a1b2c3d4", Context: "user-pii", Master: 1,
			OriginalTenant: "11111111-1111-4111-8111-111111111111", Number: 1, State: keys.Deactivated, CreatedAt: 1760000000012,
			Algorithm: algs.AES256GCMMLKEM768, Sealed: fill(90, 21),
		}},
	},
	TypeGuarded: Guarded{
		Tenant: tenantID, User: userID, Revision: 7, Session: [32]byte(fill(32, 22)), At: 1760000000013,
		Command: inside(fullApplication),
	},
	TypeSetTenantStatus:        SetTenantStatus{Tenant: tenantID, Status: directory.Disabled},
	TypeScheduleTenantDeletion: ScheduleTenantDeletion{Tenant: tenantID, At: 1760000000014, Wait: 604800000, Cancel: true},
	TypeDeleteTenant:           DeleteTenant{Tenant: tenantID, At: 1760604800014},
	TypeChangeSettings:         ChangeSettings{Tenant: tenantID, Settings: fullSettings},
	TypeChangeApplication: ChangeApplication{
		Tenant: tenantID, Application: applicationID, Team: "payments", Description: "the demo",
		Grants: []directory.Grant{fullGrant, {Context: "general", Decrypt: true}},
		Before: []directory.Grant{fullGrant, {Context: "general", Encrypt: true}},
	},
	TypeSetApplicationStatus: SetApplicationStatus{Tenant: tenantID, Application: applicationID, Status: directory.Disabled},
	TypeSetApplicationKey: SetApplicationKey{
		Tenant: tenantID, Application: applicationID, KeyID: "kid2", PublicKey: fill(32, 23), SealedKey: fill(93, 24),
		Certificate: fill(32, 25),
	},
	TypeRevokeApplicationTokens: RevokeApplicationTokens{Tenant: tenantID, Application: applicationID, NotBefore: 1760000001000},
	TypeDeleteApplication:       DeleteApplication{Tenant: tenantID, Application: applicationID},
	TypeRevokeRefresh:           RevokeRefresh{Tenant: tenantID, Family: "ref_0123456789abcdef"},
	TypeSetUserRoles:            SetUserRoles{Tenant: tenantID, User: userID, Roles: []directory.Role{directory.Admin, directory.Auditor}},
	TypeSetUserStatus:           SetUserStatus{Tenant: tenantID, User: userID, Status: directory.Disabled},
	TypeDeleteUser:              DeleteUser{Tenant: tenantID, User: userID},
	TypeSetPassword:             SetPassword{Tenant: tenantID, User: userID, Password: "$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA", Keep: [32]byte(fill(32, 26)), Anew: "$argon2id$v=19$m=4,t=1,p=1$c2FsdA$aGFzaA", By: userID},
	TypeTouchSession:            TouchSession{Hash: [32]byte(fill(32, 27)), At: 1760000000015},
	TypeEndSession:              EndSession{Hash: [32]byte(fill(32, 28))},
	TypeEndSessions:             EndSessions{Tenant: tenantID, User: userID, Keep: [32]byte(fill(32, 29))},
	TypeCreateInvitation: CreateInvitation{directory.Invitation{
		ID: "inv_0123456789abcdef", Tenant: tenantID, Hash: [32]byte(fill(32, 30)), Email: "new@example.com",
		Roles: []directory.Role{directory.Developer}, CreatedBy: userID, CreatedAt: 1760000000016, ExpiresAt: 1760604800016,
	}},
	TypeDropInvitation: DropInvitation{Tenant: tenantID, ID: "inv_0123456789abcdef"},
	TypeAcceptInvitation: AcceptInvitation{Hash: [32]byte(fill(32, 31)), At: 1760000000017, User: directory.User{
		ID: "usr_fedcba9876543210", Tenant: tenantID, Name: "new", Roles: []directory.Role{directory.Developer},
		Status: directory.Enabled, CreatedAt: 1760000000017, Email: "new@example.com",
		Password: "$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA", Issuer: "https://id.example.com", Subject: "1234",
		DisplayName: "New User", Revision: 5, PasswordBy: "usr_0123456789abcdef",
	}},
	TypeCreateDevice: CreateDevice{directory.Device{
		Hash: [32]byte(fill(32, 32)), UserCode: "BCDF-GHJK", Client: "cryptoserve", Source: "192.0.2.1", CreatedAt: 1760000000018,
		ExpiresAt: 1760000600018, State: directory.DevicePending, User: userID, Tenant: tenantID,
	}},
	TypeDecideDevice: DecideDevice{UserCode: "BCDF-GHJK", Tenant: tenantID, User: userID, Approve: true, At: 1760000000019},
	TypeRedeemDevice: RedeemDevice{Hash: [32]byte(fill(32, 33)), Session: directory.Session{
		Hash: [32]byte(fill(32, 34)), User: userID, Tenant: tenantID, CreatedAt: 1760000000020, ExpiresAt: 1760604800020,
		SeenAt: 1760000000021, Provider: "device", Source: "192.0.2.1",
	}},
	TypePutPolicy: PutPolicy{Create: true, Policy: directory.Policy{
		Tenant: tenantID, Name: "strong", Description: "strong algorithms only", Expression: "algorithm.bits >= 256",
		Message: "choose a stronger algorithm", Enforcement: directory.EnforceWarn, Contexts: []string{"user-pii", "general"},
		Operations: []string{"protect", "crypto.decrypt"}, Status: directory.Enabled, CreatedAt: 1760000000022, UpdatedAt: 1760000000023,
	}},
	TypeDeletePolicy: DeletePolicy{Tenant: tenantID, Name: "strong"},
	TypeChangeContext: ChangeContext{
		Context: directory.Context{
			Tenant: tenantID, Name: "user-pii", Description: "personal data", Algorithm: algs.AES256GCM, Format: 4,
			Derivation: directory.Salted, Status: directory.Enabled, ActiveKey: "key_user-pii_0123456789abcdef", Versions: 3,
			CreatedAt: 1760000000002, Enforcement: directory.EnforceWarn, Allowed: []algs.Name{algs.AES256GCM, algs.AES256GCMSIV},
			MinimumBits: 192, QuantumSafe: true, Ciphers: []string{"AES"}, Modes: []string{"gcm", "gcm-siv"}, MinimumVersion: 2,
			RotationDays: 90, RotateAfter: 1 << 30, SelfService: true, Layers: &fullLayers, Revision: 4,
		},
		Version: &keys.Version{
			ID: "key_user-pii_00112233445566cc", Tenant: tenantID, Context: "user-pii", Number: 4, State: keys.Compromised,
			Algorithm: algs.AES256GCM, Bits: 256, Salt: fill(32, 35), CreatedAt: 1760000000024, DeactivatedAt: 1760000000025,
			Leased: 9, Object: "invoices", Public: fill(32, 36), Sealed: fill(93, 37), Wrapped: fill(40, 38), Imported: true,
			DestroyAt: 1760000000026, DestroyedAt: 1760000000027, Reason: "seen in a public place",
		},
	},
	TypeSetContextStatus: SetContextStatus{Tenant: tenantID, Name: "user-pii", Status: directory.Disabled},
	TypeDeleteContext:    DeleteContext{Tenant: tenantID, Name: "user-pii"},
	TypeSetVersionState: SetVersionState{
		Tenant: tenantID, Key: "key_user-pii_0123456789abcdef", State: keys.Suspended, At: 1760000000028, Reason: "under examination",
	},
	TypeScheduleDestruction: ScheduleDestruction{
		Tenant: tenantID, Key: "key_user-pii_0123456789abcdef", At: 1760000000029, Wait: 604800000, Cancel: true, Reason: "still needed",
	},
	TypeDestroyVersion:    DestroyVersion{Tenant: tenantID, Key: "key_user-pii_0123456789abcdef", At: 1760604800029},
	TypeSetMinimumVersion: SetMinimumVersion{Tenant: tenantID, Context: "user-pii", Object: "invoices", Minimum: 2},
	TypeMergeUsage: MergeUsage{[]keys.Usage{
		{
			Key: "key_user-pii_0123456789abcdef", Tenant: tenantID, Protected: 1000, Processed: 2000, LastProtect: 1760000000030,
			LastProcess: 1760000000031,
		},
		{Key: "key_user-pii_fedcba9876543210", Tenant: tenantID, Processed: 1, LastProcess: 1760000000032},
	}},
	TypeSetKeyRotation: SetKeyRotation{Tenant: tenantID, Name: "invoices", Days: 365},
	TypeRequestApproval: RequestApproval{directory.Approval{
		ID: "approval_0123456789abcdef", Tenant: tenantID, Act: directory.ActDestroyKey, Resource: "key_user-pii_0123456789abcdef",
		Command: inside(ScheduleDestruction{
			Tenant: tenantID, Key: "key_user-pii_0123456789abcdef", At: 1760000000033, Wait: 604800000, Reason: "at the end of its time",
		}),
		Required: 2, Requester: userID, Revision: 7, Reason: "at the end of its time",
		Decisions: []directory.Decision{{User: "usr_fedcba9876543210", At: 1760000000034, Approve: true, Reason: "agreed"}},
		State:     directory.ApprovalExecuted, CreatedAt: 1760000000033, ExpiresAt: 1760604800033, DecidedAt: 1760000000034,
	}},
	TypeDecideApproval: DecideApproval{
		Tenant: tenantID, ID: "approval_0123456789abcdef",
		Decision: directory.Decision{User: userID, At: 1760000000035, Approve: true, Reason: "agreed"},
	},
	TypeCancelApproval: CancelApproval{Tenant: tenantID, ID: "approval_0123456789abcdef", User: userID, At: 1760000000036},
	TypeTick:           Tick{Refreshes: []Refresh{{Node: "node_0123456789abcdef", Nonce: [16]byte(fill(16, 60))}}, Mark: true},
	TypeOnce:           Once{ID: [16]byte(fill(16, 61)), Command: inside(LeaseUsage{Key: "key_user-pii_0123456789abcdef", Count: 5}), After: 1234},
	TypeAddMember: AddMember{directory.Member{
		ID: "node_0123456789abcdef", Name: "node-1", Address: "192.0.2.1:8444", Key: [32]byte(fill(32, 62)), Status: directory.MemberActive,
		API: "192.0.2.1:8443", JoinedAt: 1760000000046, RemovedAt: 1760000000047, CommandVersion: 2, Program: "1.2.3",
	}},
	TypeRemoveMember: RemoveMember{ID: "node_0123456789abcdef", At: 1760000000048},
	TypeUpdateMember: UpdateMember{
		ID: "node_0123456789abcdef", Address: "192.0.2.1:8444", API: "192.0.2.1:8443", CommandVersion: 2, Program: "1.2.4",
	},
	TypeFinaliseVersion: FinaliseVersion{Version: 2},
	TypeSetBackupSchedule: SetBackupSchedule{directory.BackupSchedule{
		EveryMinutes: 60, Target: "local", Keep: 7, Days: 8, Weeks: 9, Months: 10, RehearseMinutes: 1440, Revision: 2,
	}},
	TypeRecordBackup: RecordBackup{
		Run: directory.BackupRun{
			ID: "run_20260304t050607.000z_0123456789abcdef", Backup: "backup_20260304t050607z_0123456789abcdef", Target: "local",
			Rehearse: true, Node: "node_0123456789abcdef", At: 1760000000050, Took: 51, Bytes: 52, Index: 53, Digest: [32]byte(fill(32, 54)),
			Failed: "the place is full", Pending: true, Scheduled: true, Restore: true,
		},
		Follows: "run_20260303t050607.000z_0123456789abcdef",
	},
	TypeResetMembers: ResetMembers{Survivor: "node_0123456789abcdef", At: 1760000000049},
	TypeCreateJoinInvitation: CreateJoinInvitation{directory.JoinInvitation{
		ID: "joincode_0123456789abcdef", Hash: [32]byte(fill(32, 44)), CreatedBy: userID, CreatedAt: 1760000000041,
		ExpiresAt: 1760003600041,
	}},
	TypeDropJoinInvitation: DropJoinInvitation{ID: "joincode_0123456789abcdef"},
	TypeRequestJoin: RequestJoin{directory.Join{
		ID: "join_0123456789abcdef", Invitation: "joincode_0123456789abcdef", Hash: [32]byte(fill(32, 45)), Node: "node_0123456789abcdef",
		Name: "node-2", Address: "192.0.2.2:8444", API: "192.0.2.2:8443", Method: directory.JoinWrap, NodeKey: fill(91, 46),
		JoinKey: fill(550, 47), OAEP: "SHA-256", Check: fullCheck, CommandVersion: 1, Program: "1.2.3", State: directory.JoinApproved,
		CreatedAt: 1760000000042, ExpiresAt: 1760086400042, DecidedBy: userID, DecidedAt: 1760000000043, Transfer: &fullTransfer,
	}},
	TypeDecideJoin: DecideJoin{
		ID: "join_0123456789abcdef", Approve: true, Fingerprint: [32]byte(fill(32, 48)), Transfer: &fullTransfer, By: userID,
		At: 1760000000044,
	},
	TypeCompleteJoin: CompleteJoin{ID: "join_0123456789abcdef", At: 1760000000045},
}

// wider are commands whose records had fewer fields when their type's example was written.
var wider = map[string]Command{
	"CreateTenant-settings": CreateTenant{directory.Tenant{
		ID: tenantID, Name: "example", Status: directory.Disabled, CreatedAt: 1760000000037, DeleteAt: 1760604800037, Settings: &fullSettings,
	}},
	"CreateApplication-owned": fullApplication,
	"ChangeContext-strict": ChangeContext{
		Context: directory.Context{
			Tenant: tenantID, Name: "user-pii", Description: "personal data", Algorithm: algs.AES256GCM, Format: 4,
			Derivation: directory.Salted, Status: directory.Enabled, ActiveKey: "key_user-pii_0123456789abcdef", Versions: 3,
			CreatedAt: 1760000000002, Enforcement: directory.EnforceWarn, Allowed: []algs.Name{algs.AES256GCM, algs.AES256GCMSIV},
			MinimumBits: 192, QuantumSafe: true, Ciphers: []string{"AES"}, Modes: []string{"gcm", "gcm-siv"}, MinimumVersion: 2,
			RotationDays: 90, RotateAfter: 1 << 30, SelfService: true, Layers: &fullLayers, Revision: 4, Consistency: directory.Strict,
		},
		Version: examples[TypeChangeContext].(ChangeContext).Version,
	},
	"CreateKey-rotated": CreateKey{
		Object: keys.Object{
			Tenant: tenantID, Name: "invoices", Context: "user-pii", Purpose: keys.PurposeSign, Algorithm: algs.Ed25519,
			Protection: keys.Host, Disabled: true, ActiveKey: "key_user-pii_00112233445566aa", Versions: 1, CreatedAt: 1760000000038,
			Description: "signs invoices", MinimumVersion: 1, RotationDays: 365,
		},
		Version: keys.Version{
			ID: "key_user-pii_00112233445566aa", Tenant: tenantID, Context: "user-pii", Number: 1, State: keys.Active,
			Algorithm: algs.Ed25519, CreatedAt: 1760000000038, Object: "invoices", Public: fill(32, 39), Sealed: fill(93, 40),
			Imported: true,
		},
		Import: "import_0123456789abcdef",
	},
}

// What the examples are made of.

const (
	tenantID      = "ten_0123456789abcdef"
	userID        = "usr_0123456789abcdef"
	applicationID = "app_demo_0123456789abcdef"
)

var (
	fullCheck    = directory.KeyCheckValues{Master: fill(8, 49), WrapPrivate: fill(8, 50), WrapSecret: fill(8, 51)}
	fullTransfer = directory.KeyTransfer{Master: fill(512, 52), WrapPrivate: fill(512, 53), WrapSecret: fill(512, 54), Check: fullCheck, OAEP: "SHA-256"}
	fullBudget   = directory.Budget{Records: 100, Bytes: 1 << 20, Seconds: 3600}
	fullGrant    = directory.Grant{Context: "user-pii", Encrypt: true, Decrypt: true, Budget: &fullBudget, Compromised: true}
	fullSettings = directory.Settings{
		AddressRate: directory.Rate{PerSecond: 10, Burst: 20}, SubjectRate: directory.Rate{PerSecond: 30, Burst: 40},
		ContextRate: directory.Rate{PerSecond: 50, Burst: 60}, Budget: &fullBudget,
		Approvals: []directory.ApprovalRule{
			{Act: directory.ActDestroyKey, Approvers: 2}, {Act: directory.ActDeleteTenant, Approvers: 3},
			{Act: directory.ActChangeSettings, Approvers: 1},
		},
		DestroyWait: 86400000, Revision: 3,
	}
	fullApplication = CreateApplication{directory.Application{
		ID: applicationID, Tenant: tenantID, Name: "demo", Team: "team", Environment: "production", Status: directory.Enabled,
		Grants: []directory.Grant{fullGrant}, KeyID: "kid", PublicKey: fill(32, 41), SealedKey: fill(93, 42),
		CreatedAt: 1760000000039, Certificate: fill(32, 43), CreatedBy: userID, NotBefore: 1760000000040, Description: "the demo",
	}}
	fullLayers = classify.Layers{
		DataIdentity: classify.DataIdentity{
			Category: classify.PersonalIdentifier, Subcategory: "names", Sensitivity: classify.SensitivityHigh,
			UsageContext: classify.AtRest, PII: true, PHI: true, PCI: true, NotificationRequired: true, Examples: []string{"surname"},
		},
		Regulatory: classify.Regulatory{
			Frameworks:         []string{"GDPR"},
			DataResidency:      classify.Residency{AllowedRegions: []string{"EU"}, ProhibitedRegions: []string{"XX"}},
			Retention:          classify.Retention{MinimumDays: 30, MaximumDays: 3650, DeletionMethod: classify.DeletionCryptoShred},
			CrossBorderAllowed: true,
		},
		ThreatModel: classify.ThreatModel{
			Adversaries: []classify.Adversary{classify.OrganizedCrime}, AttackVectors: []string{"theft"}, ProtectionLifetimeDays: 7300,
		},
		AccessPatterns: classify.AccessPatterns{
			Frequency: classify.FrequencyHigh, OperationsPerSecond: 100, LatencyRequirementMS: 10, BatchOperations: true, SearchRequired: true,
		},
	}
)

// inside is a command as another one holds it.
func inside(c Command) []byte {
	data, err := Encode(c)
	if err != nil {
		panic(err)
	}
	return data
}
