package ec2

import (
	"slices"
	"strings"
)

// rules are what an account may do.
type rules struct {
	allowed []string // patterns of permissions; nil: all
}

// Allow lets an account do what the patterns name, as an IAM policy's Action does
// (ec2:CreateSnapshot, ec2:Describe*), and nothing else; nil lifts it. An action needs
// more than its own permission where AWS says so: tags in the same call need
// ec2:CreateTags, keys need KMS.
func (c *Cloud) Allow(account string, permissions []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rules[account] = rules{allowed: slices.Clone(permissions)}
}

func (c *Cloud) may(account, permission string) bool {
	r, limited := c.rules[account]
	if !limited || r.allowed == nil {
		return true
	}
	return slices.ContainsFunc(r.allowed, func(p string) bool { return wild(strings.ToLower(p), strings.ToLower(permission)) })
}

// needs are the permissions of a call that are asked for before it does anything.
func (q *request) needs() []string {
	if q.service == "sts" {
		if q.action == "AssumeRole" {
			return []string{"sts:AssumeRole"}
		}
		return nil // GetCallerIdentity is always allowed
	}
	needs := []string{"ec2:" + q.action}
	if _, tags := q.form["TagSpecification.1.Tag.1.Key"]; tags {
		needs = append(needs, "ec2:CreateTags")
	}
	return needs
}

// authorize refuses what the account may not do, and a dry run that it may.
func (c *Cloud) authorize(q *request) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, need := range q.needs() {
		if c.may(q.who.account, need) {
			continue
		}
		if q.service == "sts" {
			return fail("AccessDenied", "User: %s is not authorized to perform: %s on resource: %s", q.who.arn, need, q.get("RoleArn"))
		}
		return fail("UnauthorizedOperation", "You are not authorized to perform this operation. User: %s is not authorized to perform: %s", q.who.arn, need)
	}
	if q.is("DryRun") {
		return fail("DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
	}
	return nil
}

// keyNeeds are what making something encrypted with a key of the customer's takes.
// https://docs.aws.amazon.com/ebs/latest/userguide/ebs-encryption-requirements.html
var keyNeeds = []string{"kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"}

// lacksKey names the permission on a key that the caller lacks, if any: EC2 finds out
// after it has answered.
func (c *Cloud) lacksKey(q *request) string {
	for _, need := range keyNeeds {
		c.log.need(q, need)
		if !c.may(q.who.account, need) {
			return need
		}
	}
	return ""
}
