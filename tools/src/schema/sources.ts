import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { KubernetesObject } from "../object.ts";
import { parseObjects } from "../object.ts";
import { argocd, istio, kubernetes, moduleSource, prometheusOperator } from "../render/go.ts";
import type { OpenApiSchema } from "./strict.ts";
import { Validator } from "./validator.ts";

/** A validator for everything the platform uses: the pinned Kubernetes and the definitions of the pinned Argo CD, Istio and Prometheus operator. */
export async function platformValidator(checkout: string): Promise<Validator> {
  const [api, ...definitions] = await Promise.all([
    kubernetesApi(checkout),
    argocdDefinitions(checkout),
    istioDefinitions(checkout),
    monitoringDefinitions(checkout),
  ]);
  const validator = new Validator(api);
  for (const definition of definitions.flat()) validator.addDefinition(definition);
  return validator;
}

async function kubernetesApi(checkout: string): Promise<Record<string, OpenApiSchema>> {
  const file = join(await moduleSource(checkout, kubernetes), "api/openapi-spec/swagger.json");
  return (JSON.parse(readFileSync(file, "utf8")) as { definitions: Record<string, OpenApiSchema> })
    .definitions;
}

async function argocdDefinitions(checkout: string): Promise<KubernetesObject[]> {
  return definitionsIn(join(await moduleSource(checkout, argocd), "manifests/crds"), "-crd.yaml");
}

async function monitoringDefinitions(checkout: string): Promise<KubernetesObject[]> {
  const source = await moduleSource(checkout, prometheusOperator);
  return definitionsIn(join(source, "example/prometheus-operator-crd"), ".yaml");
}

function definitionsIn(directory: string, ending: string): KubernetesObject[] {
  return readdirSync(directory)
    .filter((file) => file.endsWith(ending))
    .flatMap((file) => parseObjects(readFileSync(join(directory, file), "utf8")));
}

async function istioDefinitions(checkout: string): Promise<KubernetesObject[]> {
  const file = join(await moduleSource(checkout, istio), "manifests/charts/base/files/crd-all.gen.yaml");
  return parseObjects(readFileSync(file, "utf8"));
}
