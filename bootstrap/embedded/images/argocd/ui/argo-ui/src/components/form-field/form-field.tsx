"use no memo";
import classNames from "classnames";
import * as React from "react";
import { FormField as field } from "../form/compat";
import type { FieldApi, FieldPath, FormApi } from "../form/types";
import { Select, type SelectOption, type SelectProps } from "../select/select";
import "./form-field.scss";

/** A value by its name: `a.b`, or the name as it stands. */
export function getNestedField(source: any, path: FieldPath): any {
  if (source && !Array.isArray(path) && Object.hasOwn(source, path)) return source[path];
  const names = Array.isArray(path) ? path : path.split(".");
  return names.reduce((value: any, name) => (value ? value[name] : value), source);
}

interface Props {
  label?: string;
  field: FieldPath;
  formApi: FormApi;
  component: React.ComponentType<any>;
  componentProps?: any;
  qeId?: string;
  key?: React.Key;
}

/** A field with its label, and its error once it was touched. */
export function FormField({ label, field, formApi, component: Component, componentProps, qeId }: Props) {
  const id = React.useId();
  const value = getNestedField(formApi.values, field);
  const error = getNestedField(formApi.errors, field);
  return (
    <div className="argo-field-container">
      <Component
        {...componentProps}
        id={id}
        qeid={qeId}
        qe-id={qeId}
        field={field}
        formApi={formApi}
        className={classNames("argo-field", { "argo-has-value": Boolean(value) }, componentProps?.className)}
      />
      {label && (
        <label htmlFor={id} className="argo-label-placeholder">
          {label}
        </label>
      )}
      {getNestedField(formApi.touched, field) && error && (
        <div className="argo-form-row__error-msg">{error}</div>
      )}
    </div>
  );
}

interface SelectFieldProps extends SelectProps {
  fieldApi: FieldApi;
  className?: string;
}

export const FormSelect = field(({ fieldApi, className, ...rest }: SelectFieldProps) => (
  <div className={classNames(className, "form-field__select")}>
    <Select
      {...rest}
      value={fieldApi.getValue()}
      onMultiChange={(options: SelectOption[]) => fieldApi.setValue(options.map(({ value }) => value))}
      onChange={(option: SelectOption) => fieldApi.setValue(option.value)}
    />
  </div>
));
