package ec2_test

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"

	fake "github.com/medic/cht-backup/integration/ec2"
)

// credentials are an account's.
func credentials(account string) func(context.Context) (aws.Credentials, error) {
	return given(fake.AccessKey(account))
}

// given are those of an access key.
func given(key string) func(context.Context) (aws.Credentials, error) {
	return func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: key, SecretAccessKey: "not checked", SessionToken: "not checked"}, nil
	}
}
