package harness

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// TestChartRenders sees that the chart installs one controller under the name it
// is looked for, without privileges, and with the generated rights.
func TestChartRenders(t *testing.T) {
	root, err := source()
	if err != nil {
		t.Fatal(err)
	}
	objects, err := ControllerObjects(&Cluster{root: root, Images: Images{Controller: "registry:5000/cht-backup:1.2"}, controllerSum: "abc"})
	if err != nil {
		t.Fatal(err)
	}
	var deployment appsv1.Deployment
	var role rbacv1.ClusterRole
	for _, o := range objects {
		u, ok := o.(*unstructured.Unstructured)
		if !ok {
			continue
		}
		var into any
		switch u.GetKind() {
		case "Deployment":
			into = &deployment
		case "ClusterRole":
			if u.GetName() != ControllerName+"-controller" {
				continue // those of tenants
			}
			into = &role
		default:
			continue
		}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(u.Object, into, true); err != nil {
			t.Fatalf("%s: %v", u.GetKind(), err)
		}
	}
	if deployment.Name != ControllerName || deployment.Namespace != ControllerNamespace || len(role.Rules) < 10 {
		t.Fatalf("deployment %s/%s, %d rules", deployment.Namespace, deployment.Name, len(role.Rules))
	}
	container := deployment.Spec.Template.Spec.Containers[0]
	if container.Image != "registry:5000/cht-backup:1.2" || !hasEnv(container, "CHT_BACKUP_IMAGE", container.Image) {
		t.Errorf("image %s, environment %v", container.Image, container.Env)
	}
	s := container.SecurityContext
	if s == nil || *s.RunAsUser == 0 || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || len(s.Capabilities.Add) > 0 {
		t.Errorf("security context %+v", s)
	}
}

func hasEnv(c corev1.Container, name, value string) bool {
	for _, e := range c.Env {
		if e.Name == name && e.Value == value {
			return true
		}
	}
	return false
}
