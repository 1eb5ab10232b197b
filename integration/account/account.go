// Package account lets a controller run in a process of its own, outside of the cluster,
// with just the rights that the chart gives it.
// In: the chart's role, and the controller's namespace, which is there. Out: an account
// with a token, and a kubeconfig.
package account

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// lasts is how long a token is good for, in seconds.
const lasts = int64(12 * 3600)

// Account is that of a controller.
type Account struct {
	// Chart is the folder of charts/cht-backup, whose role the account gets.
	Chart string
	// Name and Labels of the role and its binding; the account lies in Namespace.
	Name, Namespace string
	Labels          map[string]string
}

// Make makes it by create, which may pass over what is there, and gives a token.
func (a Account) Make(ctx context.Context, c client.Client, create func(context.Context, client.Object) error) (token string, err error) {
	text, err := os.ReadFile(filepath.Join(a.Chart, "files/role.yaml"))
	if err != nil {
		return "", err
	}
	role := &rbacv1.ClusterRole{}
	if err := yaml.Unmarshal(text, role); err != nil {
		return "", fmt.Errorf("read the chart's role: %w", err)
	}
	role.ObjectMeta = metav1.ObjectMeta{Name: a.Name, Labels: a.Labels}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: a.Namespace, Name: "controller", Labels: a.Labels}}
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: *role.ObjectMeta.DeepCopy(), RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: a.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: a.Namespace, Name: account.Name}}}
	for _, o := range []client.Object{role, binding, account} {
		if err := create(ctx, o); err != nil {
			return "", fmt.Errorf("create %T %s: %w", o, o.GetName(), err)
		}
	}
	seconds := lasts
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	if err := c.SubResource("token").Create(ctx, account, request); err != nil {
		return "", fmt.Errorf("get a token for the controller: %w", err)
	}
	return request.Status.Token, nil
}

// Kubeconfig writes one with that token.
func Kubeconfig(file string, cluster clientcmdapi.Cluster, token string) error {
	config := clientcmdapi.NewConfig()
	config.Clusters["cluster"] = &cluster
	config.AuthInfos["controller"] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts["controller"] = &clientcmdapi.Context{Cluster: "cluster", AuthInfo: "controller"}
	config.CurrentContext = "controller"
	return clientcmd.WriteToFile(*config, file)
}
