"use no memo";
import classNames from "classnames";
import * as React from "react";
import { FormField } from "../form/compat";
import type { FieldApi } from "../form/types";
import { Autocomplete, type AutocompleteProps } from "./autocomplete";

type Props = AutocompleteProps & { fieldApi: FieldApi; className?: string; id?: string };

/** An Autocomplete as a form's field; its label makes room while it has the focus. */
export const AutocompleteField = FormField(({ fieldApi, className, id, ...rest }: Props) => {
  const [focused, setFocused] = React.useState(false);
  return (
    <Autocomplete
      wrapperProps={{ className: classNames(className, { "argo-has-value": focused }) }}
      onSelect={(value) => fieldApi.setValue(value)}
      onChange={(event) => fieldApi.setValue(event.target.value)}
      {...rest}
      inputProps={{
        ...rest.inputProps,
        id,
        "qe-id": rest.qeid,
        className,
        style: { borderBottom: "none" },
        onFocus: () => setFocused(true),
        onBlur: () => {
          setFocused(false);
          fieldApi.setTouched(true);
        },
      }}
      value={fieldApi.getValue() ?? ""}
    />
  );
});
