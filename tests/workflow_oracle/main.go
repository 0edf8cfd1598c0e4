// Command workflow_oracle tells what GitHub would do with a workflow at an event: which jobs and steps run, and what
// each expression in them comes to. The expressions are evaluated by nektos/act's packages.
//
//	workflow_oracle WORKFLOW <EVENTS.json
//
// reads a list of events and prints a list of results, one for each event.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/nektos/act/pkg/exprparser"
	"github.com/nektos/act/pkg/model"
	"github.com/nektos/act/pkg/workflowpattern"
	"github.com/rhysd/actionlint"
	"gopkg.in/yaml.v3"
)

// Event is what GitHub knows when it starts a run.
type Event struct {
	Github  model.GithubContext `json:"github"`
	Secrets map[string]string   `json:"secrets"`
	// What the steps with these ids put out if they run.
	Steps map[string]map[string]string `json:"steps"`
	// The steps with this text in their name fail: of all jobs, or of those with this index in their matrix.
	Fails   string `json:"fails"`
	FailsAt *int   `json:"fails_at"`
}

// Result is a run.
type Result struct {
	Triggered   bool              `json:"triggered"`
	Concurrency map[string]string `json:"concurrency"`
	Jobs        []Job             `json:"jobs"`
}

// Job is one job of a run, one for each row of its matrix.
type Job struct {
	ID      string            `json:"id"`
	Name    string            `json:"name"`
	Matrix  map[string]any    `json:"matrix"`
	RunsOn  string            `json:"runs_on"`
	Env     map[string]string `json:"env"`
	Outputs map[string]string `json:"outputs"`
	Steps   []Step            `json:"steps"`
}

// Step is a step that runs; those whose condition is false are left out.
type Step struct {
	ID   string            `json:"id"`
	Name string            `json:"name"`
	Uses string            `json:"uses"`
	Run  string            `json:"run"`
	Dir  string            `json:"dir"`
	Env  map[string]string `json:"env"`
	With map[string]string `json:"with"`
}

// must ends the program at an error: a workflow that cannot be evaluated fails its test.
func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

// scope evaluates expressions in one place of a workflow.
type scope struct {
	env *exprparser.EvaluationEnvironment
}

// has returns whether a map has a key; expressions do not care about case.
func has[V any](properties map[string]V, property string) bool {
	for key := range properties {
		if strings.EqualFold(key, property) {
			return true
		}
	}
	return false
}

// knows returns whether a context has a property. act takes an unknown one for empty: a misspelt name would pass.
func (s scope) knows(context, property string) bool {
	switch context {
	case "github":
		return slices.ContainsFunc(reflect.VisibleFields(reflect.TypeFor[model.GithubContext]()),
			func(field reflect.StructField) bool { return field.Tag.Get("json") == property })
	case "env":
		return has(s.env.Env, property)
	case "matrix":
		return has(s.env.Matrix, property)
	case "needs":
		return has(s.env.Needs, property)
	case "steps":
		return has(s.env.Steps, property)
	default:
		return true
	}
}

// evaluate returns what a bare expression comes to.
func (s scope) evaluate(expression string, check exprparser.DefaultStatusCheck) any {
	tree, problem := actionlint.NewExprParser().Parse(actionlint.NewExprLexer(expression + "}}"))
	if problem != nil {
		must(0, fmt.Errorf("%s: %s", expression, problem.Message))
	}
	actionlint.VisitExprNode(tree, func(node, _ actionlint.ExprNode, entering bool) {
		access, ok := node.(*actionlint.ObjectDerefNode)
		if !ok || !entering {
			return
		}
		if context, ok := access.Receiver.(*actionlint.VariableNode); ok && !s.knows(context.Name, access.Property) {
			must(0, fmt.Errorf("%s: no %s.%s here", expression, context.Name, access.Property))
		}
	})
	interpreter := exprparser.NewInterpeter(s.env, exprparser.Config{Context: "step"})
	return must(interpreter.Evaluate(expression, check))
}

// text returns a value as GitHub writes it into a string.
func text(value any) string {
	switch value := value.(type) {
	case nil:
		return ""
	case string:
		return value
	case bool:
		return strconv.FormatBool(value)
	case int, float64:
		return fmt.Sprint(value)
	default:
		return string(must(json.Marshal(value)))
	}
}

// end returns where an expression that starts a text ends: at the first }} outside of a 'string'.
func end(rest string) int {
	quoted := false
	for i := 0; i < len(rest); i++ {
		if rest[i] == '\'' {
			quoted = !quoted
		} else if !quoted && strings.HasPrefix(rest[i:], "}}") {
			return i
		}
	}
	return must(0, fmt.Errorf("unclosed expression: %s", rest))
}

// fill returns a string with each ${{ expression }} replaced by its value.
func (s scope) fill(template string) string {
	var filled strings.Builder
	for {
		before, rest, found := strings.Cut(template, "${{")
		filled.WriteString(before)
		if !found {
			return filled.String()
		}
		stop := end(rest)
		filled.WriteString(text(s.evaluate(rest[:stop], exprparser.DefaultStatusCheckNone)))
		template = rest[stop+2:]
	}
}

// fillAll fills the values of a map.
func (s scope) fillAll(templates map[string]string) map[string]string {
	filled := map[string]string{}
	for key, template := range templates {
		filled[key] = s.fill(template)
	}
	return filled
}

// holds returns whether a condition lets a job or a step run.
func (s scope) holds(condition string) bool {
	if condition == "" {
		condition = "success()"
	}
	if inner, ok := strings.CutPrefix(strings.TrimSpace(condition), "${{"); ok {
		condition = strings.TrimSuffix(strings.TrimSpace(inner), "}}")
	}
	return exprparser.IsTruthy(s.evaluate(condition, exprparser.DefaultStatusCheckSuccess))
}

// with returns a scope with more variables.
func (s scope) with(variables map[string]string) scope {
	env := *s.env
	env.Env = map[string]string{}
	for _, source := range []map[string]string{s.env.Env, variables} {
		for key, value := range source {
			env.Env[key] = value
		}
	}
	return scope{&env}
}

// triggered returns whether the event starts the workflow.
func triggered(workflow *model.Workflow, github model.GithubContext) bool {
	if !slices.Contains(workflow.On(), github.EventName) {
		return false
	}
	filters, _ := workflow.OnEvent(github.EventName).(map[string]any)
	key, other := "branches", "tags"
	if github.RefType == "tag" {
		key, other = other, key
	}
	names, filtered := filters[key].([]any)
	if !filtered {
		// A push filtered by branches alone ignores tags, and the other way round.
		_, onlyOther := filters[other]
		return github.EventName != "push" || !onlyOther
	}
	patterns := []string{}
	for _, name := range names {
		patterns = append(patterns, text(name))
	}
	name := github.RefName
	if github.EventName == "pull_request" {
		name = github.BaseRef
	}
	compiled := must(workflowpattern.CompilePatterns(patterns...))
	return !workflowpattern.Skip(compiled, []string{name}, &workflowpattern.EmptyTraceWriter{})
}

// order returns the jobs' ids, each after those that it needs.
func order(workflow *model.Workflow) []string {
	ids, done := workflow.GetJobIDs(), []string{}
	slices.Sort(ids)
	for len(done) < len(ids) {
		before := len(done)
		for _, id := range ids {
			ready := !slices.ContainsFunc(workflow.GetJob(id).Needs(), func(need string) bool { return !slices.Contains(done, need) })
			if ready && !slices.Contains(done, id) {
				done = append(done, id)
			}
		}
		if len(done) == before {
			must(0, fmt.Errorf("the jobs need each other in a circle"))
		}
	}
	return done
}

// run returns what an event makes of a workflow.
func run(path string, event Event) Result {
	content := must(os.ReadFile(path))
	workflow := must(model.ReadWorkflow(bytes.NewReader(content), true))
	result := Result{Triggered: triggered(workflow, event.Github), Jobs: []Job{}}
	if !result.Triggered {
		return result
	}
	// act's model does not know this key.
	var more struct{ Concurrency map[string]string }
	must(0, yaml.Unmarshal(content, &more))
	result.Concurrency = scope{&exprparser.EvaluationEnvironment{Github: &event.Github}}.fillAll(more.Concurrency)
	needs := map[string]exprparser.Needs{}
	base := scope{&exprparser.EvaluationEnvironment{
		Github: &event.Github, Secrets: event.Secrets, Needs: needs,
		Job: &model.JobContext{Status: "success"},
	}}
	base = base.with(base.fillAll(workflow.Env))
	for _, id := range order(workflow) {
		job := workflow.GetJob(id)
		// `env` is unknown to a job's condition.
		conditionScope := *base.env
		conditionScope.Env = nil
		if slices.ContainsFunc(job.Needs(), func(need string) bool { return needs[need].Result != "success" }) {
			conditionScope.Job = &model.JobContext{Status: "failure"}
		}
		if !(scope{&conditionScope}).holds(job.If.Value) {
			needs[id] = exprparser.Needs{Result: "skipped"}
			continue
		}
		outcome := "success"
		for index, matrix := range must(job.GetMatrixes()) {
			env := *base.env
			env.Job = &model.JobContext{Status: "success"}
			env.Matrix = matrix
			env.Strategy = map[string]any{"job-index": index}
			// What a step puts out is there when it has run, and empty when it was skipped.
			env.Steps = map[string]*model.StepResult{}
			for _, step := range job.Steps {
				env.Steps[step.ID] = &model.StepResult{}
			}
			inJob := scope{&env}
			inJob = inJob.with(inJob.fillAll(job.Environment()))
			ran := Job{
				ID: id, Name: inJob.fill(job.Name), Matrix: matrix, RunsOn: inJob.fill(job.RawRunsOn.Value),
				Env: inJob.env.Env, Steps: []Step{},
			}
			for _, step := range job.Steps {
				inStep := inJob.with(nil)
				variables := inStep.fillAll(step.Environment())
				inStep = inStep.with(variables)
				if !inStep.holds(step.If.Value) {
					continue
				}
				if event.Fails != "" && strings.Contains(step.Name, event.Fails) &&
					(event.FailsAt == nil || *event.FailsAt == index) {
					env.Job.Status = "failure"
				} else {
					env.Steps[step.ID].Outputs = event.Steps[step.ID]
				}
				ran.Steps = append(ran.Steps, Step{
					ID: step.ID, Name: inStep.fill(step.Name), Uses: step.Uses, Run: inStep.fill(step.Run),
					Dir: inStep.fill(step.WorkingDirectory),
					Env: variables, With: inStep.fillAll(step.With),
				})
			}
			if env.Job.Status != "success" {
				outcome = env.Job.Status
			}
			ran.Outputs = inJob.fillAll(job.Outputs)
			needs[id] = exprparser.Needs{Outputs: ran.Outputs, Result: outcome}
			result.Jobs = append(result.Jobs, ran)
		}
	}
	return result
}

func main() {
	if len(os.Args) != 2 {
		must(0, fmt.Errorf("usage: workflow_oracle WORKFLOW <EVENTS.json"))
	}
	var events []Event
	must(0, json.NewDecoder(os.Stdin).Decode(&events))
	results := []Result{}
	for _, event := range events {
		results = append(results, run(os.Args[1], event))
	}
	must(0, json.NewEncoder(os.Stdout).Encode(results))
}
