/** What the API server lets pods have in a namespace that says nothing of it. */
import { writeIfChanged } from "./files.ts";
import { state } from "./layout.ts";

/** The API server's admission configuration. */
export const admissionFile = (): string => state("config", "admission.json");

/**
 * Pod Security by default: nothing of the node, in every namespace without a label, also in those that somebody makes later.
 * Whoever needs more labels the namespace, as the platform's own are labelled.
 */
export const admission = {
  apiVersion: "apiserver.config.k8s.io/v1",
  kind: "AdmissionConfiguration",
  plugins: [
    {
      name: "PodSecurity",
      configuration: {
        apiVersion: "pod-security.admission.config.k8s.io/v1",
        kind: "PodSecurityConfiguration",
        defaults: { enforce: "baseline", "enforce-version": "latest" },
        exemptions: { usernames: [], runtimeClasses: [], namespaces: [] },
      },
    },
  ],
};

/** Writes the configuration. */
export function writeAdmission(): void {
  writeIfChanged(admissionFile(), JSON.stringify(admission, null, 2));
}
