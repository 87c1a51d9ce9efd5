/** What the API server allows pods in a namespace without Pod Security labels. */
import { writeIfChanged } from "./files.ts";
import { state } from "./layout.ts";

/** Path of the API server's admission configuration. */
export const admissionFile = (): string => state("config", "admission.json");

/**
 * The default of Pod Security: in every namespace without a label, also in later ones, pods get no access to the node.
 * A namespace that needs more has a label, as the platform's own namespaces have.
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

/** Writes the admission configuration. */
export function writeAdmission(): void {
  writeIfChanged(admissionFile(), JSON.stringify(admission, null, 2));
}
