package a2a

import (
	"context"
	"strconv"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
	"agentmesh/shared/webhook"
)

// pushing is a request about push configurations.
type pushing struct{ *exchange }

func pushes(x *exchange) pushing { return pushing{x} }

// pushField is where the params of a message have a push configuration.
const pushField = "/configuration/taskPushNotificationConfig"

// offered refuses push configurations where the mesh sends none.
func (x pushing) offered() error {
	if x.cfg.NoPush || !x.mesh.Pushes.Offered() {
		return refuse(a2a.ErrPushNotificationNotSupported, mesh.ErrCallbacksOff.Code, "Agents of this mesh send no push notifications, as their cards say. Subscribe to the task instead.")
	}
	return nil
}

// inline is the push configuration of a message.
func (x pushing) inline(s *sending) (*mesh.PushSettings, error) {
	if s.Config == nil || s.Config.PushConfig == nil {
		return nil, nil
	}
	if err := x.offered(); err != nil {
		return nil, err
	}
	return settingsOf(s.Config.PushConfig), nil
}

func settingsOf(c *a2a.PushConfig) *mesh.PushSettings {
	s := &mesh.PushSettings{ID: c.ID, URL: c.URL, Token: c.Token}
	if c.Auth != nil {
		s.Scheme, s.Credentials = c.Auth.Scheme, c.Auth.Credentials
	}
	return s
}

// pushView is a push configuration as it may be read: without its token and its
// credentials.
func pushView(p *webhook.Push) *a2a.PushConfig {
	v := &a2a.PushConfig{TaskID: a2a.TaskID(p.Task), ID: p.ID, URL: p.URL}
	if p.Scheme != "" {
		v.Auth = &a2a.PushAuthInfo{Scheme: p.Scheme}
	}
	return v
}

// ofTask finds the task that params are about.
func (x pushing) ofTask(ctx context.Context, id, tenant string) (*task.Task, error) {
	if err := x.offered(); err != nil {
		return nil, err
	}
	if id == "" {
		return nil, invalid(mesh.Field("is missing", "/taskId"))
	}
	if err := x.ofTenant(tenant, a2a.ErrTaskNotFound); err != nil {
		return nil, err
	}
	return x.find(ctx, id)
}

// create is CreateTaskPushNotificationConfig.
func (x pushing) create(ctx context.Context, in *a2a.PushConfig) (*a2a.PushConfig, error) {
	t, err := x.ofTask(ctx, string(in.TaskID), in.Tenant)
	if err != nil {
		return nil, err
	}
	p, err := x.mesh.Pushes.Create(ctx, x.caller(), t.ID, *settingsOf(in))
	if err != nil {
		return nil, err
	}
	return pushView(p), nil
}

// ofConfig finds the task of a configuration that params are about.
func (x pushing) ofConfig(ctx context.Context, id, config, tenant string) (*task.Task, error) {
	t, err := x.ofTask(ctx, id, tenant)
	if err == nil && config == "" {
		err = invalid(mesh.Field("is missing", "/id"))
	}
	return t, err
}

// get is GetTaskPushNotificationConfig.
func (x pushing) get(ctx context.Context, in *a2a.GetTaskPushConfigRequest) (*a2a.PushConfig, error) {
	t, err := x.ofConfig(ctx, string(in.TaskID), in.ID, in.Tenant)
	if err != nil {
		return nil, err
	}
	p, err := x.mesh.Pushes.Get(ctx, x.caller(), t.ID, in.ID)
	if err != nil {
		return nil, err
	}
	return pushView(p), nil
}

// pushList always says whether there is a next page.
type pushList struct {
	Configs []*a2a.PushConfig `json:"configs"`
	Next    string            `json:"nextPageToken"`
}

// list is ListTaskPushNotificationConfigs. The token of a page is how many
// configurations come before it.
func (x pushing) list(ctx context.Context, in *a2a.ListTaskPushConfigRequest) (*pushList, error) {
	t, err := x.ofTask(ctx, string(in.TaskID), in.Tenant)
	if err != nil {
		return nil, err
	}
	if in.PageSize < 0 || in.PageSize > 100 {
		return nil, invalid(mesh.Field("must be 1 to 100", "/pageSize"))
	}
	from := 0
	if in.PageToken != "" {
		if from, err = strconv.Atoi(in.PageToken); err != nil || from < 0 {
			return nil, invalid(mesh.Field("is none of this list", "/pageToken"))
		}
	}
	all, err := x.mesh.Pushes.List(ctx, x.caller(), t.ID)
	if err != nil {
		return nil, err
	}
	out := &pushList{Configs: []*a2a.PushConfig{}}
	for i, p := range all {
		if i < from {
			continue
		}
		if in.PageSize > 0 && len(out.Configs) == in.PageSize {
			out.Next = strconv.Itoa(i)
			break
		}
		out.Configs = append(out.Configs, pushView(p))
	}
	return out, nil
}

// remove is DeleteTaskPushNotificationConfig. To delete twice is fine.
func (x pushing) remove(ctx context.Context, in *a2a.DeleteTaskPushConfigRequest) (struct{}, error) {
	t, err := x.ofConfig(ctx, string(in.TaskID), in.ID, in.Tenant)
	if err != nil {
		return struct{}{}, err
	}
	return struct{}{}, x.mesh.Pushes.Delete(ctx, x.caller(), t.ID, in.ID)
}

// keep has the receiver that an answer names told of the task from now on.
func (x pushing) keep(ctx context.Context, id task.ID, s *mesh.PushSettings) error {
	if s == nil {
		return nil
	}
	if err := x.door.Permit(auth.TasksWrite); err != nil {
		return err
	}
	_, err := x.mesh.Pushes.Create(ctx, x.caller(), id, *s)
	return err
}
