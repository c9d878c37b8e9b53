// The import `value` of Winograd's transforms in planes: four channels at a time.
alias Value = vec4f;
