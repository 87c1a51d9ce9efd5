/** The interface of react-form 2, which the pages are written for. */
import type * as React from "react";

export type FormValue = any;
export type FormError = any;
export interface Nested<T> {
  [field: string]: T | Nested<T>;
}
export interface FormValues {
  [field: string]: FormValue;
}
export interface FormErrors {
  [field: string]: FormError;
}
export interface Touched {
  [field: string]: boolean;
}

/** A field's name: `a.b`, `a[0].b`, or its parts. */
export type FieldPath = string | (string | number)[];

export interface FormState {
  values: FormValues;
  touched: Touched;
  errors: FormErrors;
}

export interface FormApi {
  values: FormValues;
  touched: Touched;
  errors: FormErrors;
  submitForm(event?: any): void;
  setValue(field: FieldPath, value: FormValue): void;
  setAllValues(values: FormValues): void;
  setTouched(field: FieldPath, touched?: boolean): void;
  setError(field: FieldPath, error: FormError): void;
  getFormState(): any;
  setFormState(state: any): void;
  resetAll(): void;
}

export type FormFunctionProps = FormApi;

export interface FieldApi {
  getValue(): FormValue;
  getError(): FormError;
  getTouched(): boolean;
  setValue(value: FormValue): void;
  setError(error: FormError): void;
  setTouched(touched: boolean): void;
}

export interface FieldProps {
  field: FieldPath;
  formApi?: FormApi;
}

export interface FormProps {
  children?: ((api: FormApi) => React.ReactNode) | React.ReactNode;
  defaultValues?: any;
  getApi?: (api: FormApi) => any;
  formDidUpdate?: (state: FormState) => any;
  validateError?: (values: any) => any;
  preSubmit?: (values: any) => any;
  onSubmit?: (values: any, event: any, api: FormApi) => any;
  onSubmitFailure?: (errors: FormErrors, submissionError?: any) => any;
}

export type ValidateValuesFunction = FormProps["validateError"];
export type RenderReturn = React.ReactNode;
